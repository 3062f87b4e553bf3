"""examples/finetune: its nets, its pictures, and that what stays costs no backward pass."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

import caffepy
from caffepy.kernels import observed
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import NetParameter
from caffepy.proto.caffemodel import open_weights
from tests.shared import ROOT, shared


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"finetune_{name}", ROOT / "examples" / "finetune" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = script("net")
    monkeypatch.setattr(made, "HERE", tmp_path)
    made.main()
    return tmp_path


def test_the_layers_are_called_as_in_the_published_weights(folder: Path) -> None:
    net = caffepy.Net(str(folder / "deploy.prototxt"), caffepy.TEST)
    report = net.copy_from(shared("models/squeezenet-v1.1/squeezenet_v1.1.caffemodel"))
    assert report.unused == ["conv10"]
    assert report.unfilled == ["conv10_garments"]
    with open_weights(shared("models/squeezenet-v1.1/squeezenet_v1.1.caffemodel")) as stored:
        np.testing.assert_array_equal(
            net.params["fire9/expand3x3"][0].data, stored.layers["fire9/expand3x3"][0].array()
        )


def test_backward_ends_at_the_new_layer(folder: Path) -> None:
    definition = prototxt.read(folder / "train_val.prototxt", NetParameter)
    del definition.layer[:2]
    data = definition.layer.add(name="data", type="Input", top=["data", "label"])
    data.input_param.shape.add(dim=[2, 3, 227, 227])
    data.input_param.shape.add(dim=[2])
    net = caffepy.Net(NetParameter(layer=[data, *definition.layer[:-1]]), caffepy.TRAIN)
    computed: list[str] = []
    net.after_backward(lambda index: computed.append(net.layers[index].name))
    net.forward()
    ran: list[str] = []
    with observed(lambda kernel, args, constants: ran.append(kernel.name) or True):
        net.backward_from_to(len(net.layers) - 1, 0)
    assert computed == ["loss", "pool10", "conv10_garments"]
    assert ran.count("convolution_backward_weights") == 1
    assert "convolution_backward" not in ran
    assert len(ran) < 6, ran
    assert [weight.name for weight in learning(net)] == ["conv10_garments"]


def learning(net: caffepy.Net) -> list[caffepy.Layer]:
    """The layers whose weights backward computes a gradient of."""
    return [layer for layer in net.layers if layer.blobs and any(layer.param_propagate_down)]


def test_pictures_and_their_lists(tmp_path: Path) -> None:
    made = script("pictures")
    made.main([str(tmp_path), "--train", "2", "--test", "1"])
    lines = (tmp_path / "train.txt").read_text().splitlines()
    assert sorted(int(line.split()[1]) for line in lines) == sorted([*range(10)] * 2)
    assert lines != sorted(lines)
    with Image.open(tmp_path / lines[0].split()[0]) as picture:
        assert (picture.size, picture.mode) == ((227, 227), "RGB")
    again = tmp_path / "again"
    made.main([str(again), "--train", "2", "--test", "1"])
    assert (again / "train.txt").read_text().splitlines() == lines
