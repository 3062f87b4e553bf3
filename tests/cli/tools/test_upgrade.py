"""`caffepy upgrade-net` and `upgrade-solver`: old files come out current, and give the same results."""

from pathlib import Path

import numpy as np
from click.testing import CliRunner

import caffepy as caffe
from caffepy.cli import main
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import NetParameter, SolverParameter
from tests.cli import models

V1 = """
name: "old"
input: "data"
input_dim: 2 input_dim: 3 input_dim: 6 input_dim: 5
layers { name: "conv" type: CONVOLUTION bottom: "data" top: "conv" blobs_lr: 1 blobs_lr: 2
         convolution_param { num_output: 4 kernel_size: 3 } }
layers { name: "relu" type: RELU bottom: "conv" top: "conv" }
layers { name: "fc" type: INNER_PRODUCT bottom: "conv" top: "fc" inner_product_param { num_output: 1 } }
"""


def old_model(folder: Path) -> Path:
    """A .caffemodel as Caffe wrote them in 2014: V1 layers, blobs of four axes."""
    net = prototxt.parse(V1, NetParameter)
    shapes = {"conv": [(4, 3, 3, 3), (1, 1, 1, 4)], "fc": [(1, 1, 1, 48), (1, 1, 1, 1)]}
    rng = np.random.default_rng(0)
    for layer in net.layers:
        for num, channels, height, width in shapes.get(layer.name, []):
            data = rng.standard_normal(num * channels * height * width)
            layer.blobs.add(num=num, channels=channels, height=height, width=width, data=data)
    path = folder / "old.caffemodel"
    path.write_bytes(net.SerializeToString())
    return path


def test_a_prototxt(tmp_path: Path) -> None:
    (tmp_path / "old.prototxt").write_text(V1)
    out = tmp_path / "new.prototxt"
    result = CliRunner().invoke(main, ["upgrade-net", str(tmp_path / "old.prototxt"), str(out)])
    assert (result.exit_code, result.stdout) == (0, "")
    assert "3 layers upgraded from `layers` to `layer`" in result.stderr
    net = prototxt.read(out, NetParameter)
    assert [layer.type for layer in net.layer] == ["Input", "Convolution", "ReLU", "InnerProduct"]
    assert [spec.lr_mult for spec in net.layer[1].param] == [1, 2]
    again = CliRunner().invoke(main, ["upgrade-net", str(out)])
    assert again.stderr == f"{out}: is of the current format already\n"
    assert again.stdout == out.read_text()


def test_a_caffemodel_keeps_its_weights(tmp_path: Path) -> None:
    old, new = old_model(tmp_path), tmp_path / "new.caffemodel"
    result = CliRunner().invoke(main, ["upgrade-net", str(old), str(new)])
    assert result.exit_code == 0, result.stderr
    stored = NetParameter.FromString(new.read_bytes())
    assert not stored.layers
    shapes = {layer.name: [tuple(blob.shape.dim) for blob in layer.blobs] for layer in stored.layer if layer.blobs}
    assert shapes == {"conv": [(4, 3, 3, 3), (4,)], "fc": [(1, 48), (1,)]}
    (tmp_path / "old.prototxt").write_text(V1)
    data = np.random.default_rng(1).standard_normal((2, 3, 6, 5)).astype(np.float32)
    results = [
        caffe.Net(str(tmp_path / "old.prototxt"), caffe.TEST, weights=weights).forward(data=data)["fc"]
        for weights in (str(old), str(new))
    ]
    np.testing.assert_array_equal(*results)
    assert np.abs(results[0]).min() > 0


def test_the_definition_of_a_caffemodel(tmp_path: Path) -> None:
    out = tmp_path / "net.prototxt"
    result = CliRunner().invoke(main, ["upgrade-net", models.write(tmp_path)["weights"], str(out)])
    assert result.exit_code == 0
    net = prototxt.read(out, NetParameter)
    assert [layer.name for layer in net.layer] == ["data", "conv", "relu", "fc", "prob"]
    assert not any(layer.blobs for layer in net.layer)


def test_a_solver(tmp_path: Path) -> None:
    (tmp_path / "solver.prototxt").write_text('net: "net.prototxt" base_lr: 0.1 solver_type: NESTEROV')
    result = CliRunner().invoke(main, ["upgrade-solver", str(tmp_path / "solver.prototxt")])
    assert result.exit_code == 0
    assert "solver_type: NESTEROV upgraded to type: 'Nesterov'" in result.stderr
    assert prototxt.parse(result.stdout, SolverParameter).type == "Nesterov"


def test_wrong_calls(tmp_path: Path) -> None:
    weights = models.write(tmp_path)["weights"]
    runs = {
        (weights,): "holds weights: expected OUT",
        (weights, weights): "give OUT another name than IN",
        (str(tmp_path / "deploy.prototxt"), "x.caffemodel"): "a prototxt has no weights to write",
        ("none.prototxt",): "none.prototxt: cannot be opened",
    }
    for arguments, message in runs.items():
        result = CliRunner().invoke(main, ["upgrade-net", *arguments])
        assert result.exit_code != 0
        assert message in result.stderr
