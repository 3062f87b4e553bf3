"""`caffepy test`: averages over batches."""

import json
from pathlib import Path

import numpy as np
from click.testing import CliRunner

import caffepy as caffe
from caffepy.cli import main

NET = """
name: "scored"
layer { name: "data" type: "DummyData" top: "data" top: "label"
        dummy_data_param { shape { dim: 3 dim: 4 } shape { dim: 3 }
        data_filler { type: "gaussian" std: 1 } data_filler { type: "constant" value: 1 } } }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc"
        inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" loss_weight: 2 }
layer { name: "accuracy" type: "Accuracy" bottom: "fc" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "many" type: "Power" bottom: "data" top: "many" power_param { scale: 0 shift: 3 } }
"""


def written(folder: Path) -> list[str]:
    model, weights = folder / "net.prototxt", folder / "net.caffemodel"
    model.write_text(NET)
    caffe.set_random_seed(5)
    caffe.Net(str(model), caffe.TEST).save(weights)
    return [str(model), str(weights)]


def test_lines_are_caffes_and_averages_are_of_the_batches(tmp_path: Path) -> None:
    files = written(tmp_path)
    caffe.set_random_seed(1)
    result = CliRunner().invoke(main, ["test", *files, "--iterations", "3"])
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    losses = [float(line.split(" = ")[1]) for line in lines if line.startswith("Batch") and ", loss" in line]
    assert len(set(losses)) == 3
    assert lines[1].startswith("Batch 0, loss = ")
    mean = np.mean(losses)
    said = {line.partition(" ")[0]: line for line in lines[6:]}
    assert np.isclose(float(said["Loss:"].split()[1]), 2 * mean, rtol=1e-4)
    value, _, note = said["loss"].removeprefix("loss = ").partition(" ")
    assert np.isclose(float(value), mean, rtol=1e-4)
    assert note.startswith("(* 2 = ")
    assert note.endswith(" loss)")
    assert said["many:"] == "many: 12 values of 3x4, 3 to 3, mean 3"


def test_json(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["test", *written(tmp_path), "--iterations", "2", "--json"])
    found = json.loads(result.stdout)
    assert found["iterations"] == 2
    assert list(found["outputs"]) == ["accuracy", "loss", "many"]
    assert found["loss"] == 2 * found["outputs"]["loss"]["mean"]
    assert found["outputs"]["many"]["mean"] == [[3.0] * 4] * 3


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    model, weights = written(tmp_path)
    assert "Expected WEIGHTS after MODEL" in CliRunner().invoke(main, ["test", model]).stderr
    Path(model).write_text(NET.replace('type: "DummyData"', 'type: "Input"').replace("dummy_data_param", "input_param"))
    text = Path(model).read_text()
    Path(model).write_text(
        text.partition("input_param")[0]
        + "input_param { shape { dim: 3 dim: 4 } shape { dim: 3 } } }\n"
        + text.partition('type: "constant" value: 1 } } }\n')[2]
    )
    result = CliRunner().invoke(main, ["test", model, weights, "--iterations", "1"])
    assert result.exit_code == 0
    assert "nothing is fed to data, label: zeros go in" in result.stderr
