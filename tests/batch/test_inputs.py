"""Nets with several inputs: one takes pictures, the others have values that are the same for all of them."""

import numpy as np
import pytest
from click.testing import CliRunner

import caffepy as caffe
from caffepy import batch
from caffepy.cli import main
from caffepy.errors import ArgumentError, StateError, UnknownBlobError
from tests.batch import sets
from tests.cli import models

MORE = """
layer {{ name: "info" type: "Input" top: "info" input_param {{ shape {{ dim: 4 dim: 7 }} }} }}
layer {{ name: "shift" type: "Input" top: "shift" input_param {{ shape {{ dim: 7 }} }} }}
layer {{ name: "sum" type: "Eltwise" bottom: "fc" bottom: "info" top: "sum" }}
layer {{ name: "shifted" type: "Bias" bottom: "sum" bottom: "shift" top: "shifted" }}
"""
SHIFT = [0.5, -1, 2, 3, 4, 5, 6]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    paths = models.write(folder)
    more = folder / "more.prototxt"
    more.write_text((models.DEPLOY + MORE).format(channels=3, filler=""))
    pictures = sets.pictures(folder / "pictures", 6, bad=None)
    return {**paths, "more": str(more), "paths": pictures, "source": str(folder / "pictures")}


@pytest.mark.parametrize("at_once", [1, 3, 7])
def test_values_are_there_at_every_pass(at_once, made, tmp_path):
    """`info` has a row for each picture, as many as there are at once; `shift` has none."""
    inputs = {"info": 10, "shift": SHIFT}
    task = batch.Blobs(("shifted",))
    given = made["more"], made["weights"], made["source"], tmp_path / "out", task
    batch.run(*given, sink="npy", batch=at_once, workers=1, inputs=inputs)
    found = np.concatenate([np.load(path) for path in sorted((tmp_path / "out").glob("*.shifted.npy"))])
    alone = sets.expected(made["model"], made["weights"], made["paths"], "fc")
    np.testing.assert_allclose(found, [alone[i] + 10 + SHIFT for i in range(6)], rtol=1e-6)
    with pytest.raises(StateError, match="not the same mean, scale, resizing or values of inputs"):
        batch.run(*given, sink="npy", batch=at_once, workers=1, inputs={**inputs, "info": 11})


def test_the_command_takes_them_as_words(made, tmp_path):
    words = ["--input", "info=1,2,3,4,5,6,7", "--input", f"shift={','.join(map(str, SHIFT))}"]
    options = ["--blobs", "shifted", "--as", "npy", "--batch", "6", "--workers", "1", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, ["batch", made["more"], made["weights"], made["source"], *options, *words])
    assert result.exit_code == 0, result.output
    alone = sets.expected(made["model"], made["weights"], made["paths"], "fc")
    wanted = [alone[i] + np.arange(1, 8) + SHIFT for i in range(6)]
    np.testing.assert_allclose(np.load(tmp_path / "out/part-00000.shifted.npy"), wanted, rtol=1e-6)
    result = CliRunner().invoke(
        main, ["batch", made["more"], made["weights"], made["source"], *options, "--input", "info=a"]
    )
    assert result.exit_code != 0
    assert "--input 'info=a': give NAME=NUMBER" in result.output


@pytest.mark.parametrize(
    ("inputs", "error", "match"),
    [
        ({}, ArgumentError, "inputs are data, info, shift; expected one, .*--input im_info=600,800,1"),
        ({"info": 1}, ArgumentError, "inputs without values are data, shift; expected one"),
        ({"info": 1, "shift": 1, "data": 1}, ArgumentError, "inputs without values are none"),
        ({"inf": 1, "shift": 1}, UnknownBlobError, "no input 'inf'.*info"),
        ({"info": [1, 2], "shift": 1}, ArgumentError, r"'info' takes 1 value or 7, of shape \(7,\); got 2"),
        ({"info": "many", "shift": 1}, ArgumentError, "'many' are no numbers"),
    ],
)
def test_what_cannot_be_is_said_before_work(inputs, error, match, made, tmp_path):
    with pytest.raises(error, match=match):
        batch.run(
            made["more"], made["weights"], made["source"], tmp_path / "out", batch.Blobs(("shifted",)),
            sink="npy", inputs=inputs,
        )  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_a_net_without_inputs(made, tmp_path):
    model = tmp_path / "none.prototxt"
    model.write_text('layer { name: "d" type: "DummyData" top: "d" dummy_data_param { shape { dim: 1 } } }')
    with pytest.raises(ArgumentError, match="inputs are none; expected one, for pictures: give a deploy"):
        batch.run(model, None, made["source"], tmp_path / "out", batch.Blobs(("d",)), sink="npy")


def test_an_option_that_is_none(made, tmp_path):
    with pytest.raises(ArgumentError, match=r"no option 'worker'.*workers"):
        batch.run(made["model"], made["weights"], made["source"], tmp_path / "out", batch.Blobs(("fc",)), worker=1)
    with pytest.raises(ArgumentError, match="no option 'shard'"):
        batch.plan(made["model"], made["weights"], made["source"], batch.Blobs(("fc",)), shard=1)
    assert caffe.batch is batch
