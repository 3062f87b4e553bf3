"""Blobs that take turns in the same memory: the same numbers, little memory, and no stale value for anybody."""

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

import caffepy
from benchmarks import resident
from caffepy.errors import ArgumentError, StateError, UnknownBlobError
from caffepy.layer import Layer
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import NetParameter
from caffepy.zoo.nets import NETS
from tests.cpu.roads import needs_onednn, road
from tests.gpu_mode import downloaded, running
from tests.nets import CHAIN, FORK, make, noise
from tests.shared import ROOT

PYTHON_STOP = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 6 } } }
layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" inner_product_param { num_output: 5
        weight_filler { type: "xavier" } } }
layer { name: "b" type: "TanH" bottom: "a" top: "b" }
layer { name: "own" type: "Python" bottom: "b" top: "c"
        python_param { module: "tests.net.test_sharing" layer: "Twice" } }
layer { name: "d" type: "Eltwise" bottom: "a" bottom: "c" top: "d" }
layer { name: "e" type: "TanH" bottom: "d" top: "e" }
layer { name: "f" type: "InnerProduct" bottom: "e" top: "f" inner_product_param { num_output: 3
        weight_filler { type: "xavier" } } }
"""
"""b, c and a are needed where the pass stops for the Python layer; d and e are not."""


class Twice(caffepy.Layer):
    """c = 2 b"""

    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = 2 * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = 2 * top[0].diff


@pytest.fixture(params=[pytest.param("onednn", marks=needs_onednn), "numpy", "gpu-ascending"])
def anywhere(request: pytest.FixtureRequest) -> Iterator[None]:
    on_cpu = request.param in ("onednn", "numpy")
    with running("cpu" if on_cpu else request.param), road(request.param if on_cpu else "numpy"):
        yield


@pytest.fixture
def unfilled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Layer, "fill", lambda self, index: None)


def twins(definition: str | NetParameter, **options: object) -> tuple[caffepy.Net, caffepy.Net]:
    """Two nets of the same weights: one with memory="inference"."""
    text = definition if isinstance(definition, str) else prototxt.format(definition)
    full, sharing = make(text), make(text, memory="inference", **options)
    sharing.share_with(full)
    return full, sharing


def between(net: caffepy.Net) -> list[str]:
    return [name for name in net.blobs if name not in (*net.inputs, *net.outputs)]


def same_outputs(full: caffepy.Net, sharing: caffepy.Net, seed: int = 0) -> None:
    inputs = {name: noise(*full.blobs[name].shape, seed=seed) for name in full.inputs}
    expected = {name: values.copy() for name, values in full.forward(**inputs).items()}
    for name, values in sharing.forward(**inputs).items():
        np.testing.assert_array_equal(values, expected[name])


@pytest.mark.usefixtures("anywhere")
@pytest.mark.parametrize("definition", [CHAIN, FORK, PYTHON_STOP], ids=["chain", "fork", "python"])
def test_outputs_are_the_same(definition: str) -> None:
    full, sharing = twins(definition)
    for seed in range(3):
        same_outputs(full, sharing, seed)


SMALL = {"squeezenet_v1_1": 64, "resnet18": 64, "mobilenet_v2": 64, "densenet121": 64, "inception_v3": 139}


@pytest.mark.parametrize("engine", [pytest.param("onednn", marks=needs_onednn), "numpy"])
@pytest.mark.parametrize("name", SMALL)
def test_outputs_of_published_nets_are_the_same(engine: str, name: str) -> None:
    with road(engine):
        full, sharing = twins(NETS[name](batch=2, size=SMALL[name]))
        for net in (full, sharing):
            for layer in net.layers:
                if layer.type == "BatchNorm":
                    layer.blobs[1].data[...] = layer.blobs[2].data[...] = 1
        for seed in range(2):
            same_outputs(full, sharing, seed)


@pytest.mark.usefixtures("anywhere")
def test_kept_blobs_stay_readable_and_others_say_how_they_would() -> None:
    full, sharing = twins(CHAIN, keep=["pool1"])
    same_outputs(full, sharing)
    np.testing.assert_array_equal(sharing.blobs["pool1"].data, full.blobs["pool1"].data)
    np.testing.assert_array_equal(sharing.forward(blobs=["pool1"])["pool1"], full.blobs["pool1"].data)
    for ask in (lambda blob: blob.data, lambda blob: blob.read()):
        with pytest.raises(StateError, match=r"blob 'conv1' are gone.*keep=\[\"conv1\"\]"):
            ask(sharing.blobs["conv1"])
    assert sharing.blobs["conv1"].shape == (2, 4, 6, 6)
    assert sharing.blobs["conv1"].diff.shape == (2, 4, 6, 6)


def test_a_gpu_s_array_is_refused_too() -> None:
    with running("gpu-ascending"):
        _, sharing = twins(CHAIN)
        sharing.forward()
        with pytest.raises(StateError, match="blob 'conv1' are gone"):
            sharing.blobs["conv1"].gpu_data  # noqa: B018


@pytest.mark.usefixtures("anywhere")
def test_nothing_runs_backward() -> None:
    _, sharing = twins(CHAIN)
    sharing.forward()
    for way in (lambda: sharing.gradient({"fc": 1.0}), lambda: sharing.backward(fc=np.ones((2, 5))), sharing.profile):
        with pytest.raises(StateError, match='memory="inference"'):
            way()
    assert sharing.profile(dry=True).forward.flops > 0


@pytest.mark.usefixtures("anywhere")
def test_a_pass_may_begin_where_everything_is_kept() -> None:
    full, sharing = twins(CHAIN, keep="conv1")
    same_outputs(full, sharing)
    expected = full.forward(start="pool1")["fc"].copy()
    np.testing.assert_array_equal(sharing.forward(start="pool1")["fc"], expected)
    with pytest.raises(StateError, match=r"from layer 'fc' reads blob 'pool1'.*keep=\[\"pool1\"\]"):
        sharing.forward(start="fc")


@pytest.mark.usefixtures("anywhere")
def test_callbacks_see_every_layer_and_change_no_number() -> None:
    full, sharing = twins(CHAIN)
    seen: list[int] = []
    sharing.after_forward(seen.append)
    inputs = noise(2, 3, 8, 8)
    expected = full.forward(data=inputs)["fc"].copy()
    np.testing.assert_allclose(sharing.forward(data=inputs)["fc"], expected, rtol=1e-5, atol=1e-6)
    assert seen == list(range(5))


@pytest.mark.usefixtures("anywhere")
def test_other_shapes_get_other_places() -> None:
    full, sharing = twins(CHAIN)
    for shape in ((2, 3, 8, 8), (5, 3, 8, 8), (1, 3, 8, 8)):
        for net in (full, sharing):
            net.blobs["data"].reshape(*shape)
        same_outputs(full, sharing)


@pytest.mark.usefixtures("anywhere")
@pytest.mark.parametrize("definition", [CHAIN, FORK, PYTHON_STOP], ids=["chain", "fork", "python"])
def test_gradients_whose_diffs_take_turns_are_those_of_backward(definition: str) -> None:
    net = make("force_backward: true\n" + definition)
    rng = np.random.default_rng(2)
    for name in net.inputs:
        net.blobs[name].data[...] = rng.standard_normal(net.blobs[name].shape)
    for _ in range(2):
        net.forward()
        diffs = {name: rng.standard_normal(net.blobs[name].shape).astype(np.float32) for name in net.outputs}
        found = net.gradient(diffs, net.inputs[0])[net.inputs[0]]
        expected = net.backward(**diffs)[net.inputs[0]]
        found = found if isinstance(found, np.ndarray) else downloaded(found)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_what_is_asked_for_must_be_there() -> None:
    with pytest.raises(UnknownBlobError, match="conv2"):
        make(CHAIN, memory="inference", keep=["conv2"])
    with pytest.raises(ArgumentError, match=r'memory=.training.; give "full", or "inference"'):
        make(CHAIN, memory="training")


@pytest.mark.usefixtures("unfilled")
@pytest.mark.parametrize(
    # conv1_1 and conv1_2 of VGG-16, both needed at once, are 0.42 of all its blobs
    ("name", "most"),
    [("vgg16", 0.432), ("googlenet", 0.20), ("resnet50", 0.16), ("densenet121", 0.08), ("mobilenet_v2", 0.24)],
)
def test_memory_of_published_nets(name: str, most: float) -> None:
    with caffepy.Net(NETS[name](8), caffepy.TEST, memory="inference") as net:
        memory = net.table().memory
        assert memory.data_inference <= most * memory.data
        assert memory.diffs_gradient <= most * memory.diffs


@needs_onednn
def test_packed_blobs_take_turns_as_well() -> None:
    with road("onednn"):
        full, sharing = twins(NETS["squeezenet_v1_1"](batch=2, size=127))
        for net in (full, sharing):
            net.forward()
        full.gradient({"prob": 1.0}, "data")
        memory = sharing.table().memory
        assert sharing.execution.replay.on_cpu.arena.size <= memory.data_inference
        # reordered for what reads them, some are there twice for a while
        assert full.execution.replay.on_cpu.arena.size <= 0.4 * memory.diffs


PEAK = """
import caffepy
from benchmarks import resident
from benchmarks.runs import unfilled
from caffepy.zoo.nets import NETS

before = resident.now()
net = unfilled(NETS["caffenet"](1))
for blobs in net.params.values():
    for blob in blobs:
        blob.data[...] = 0.01  # zeros that nobody wrote take no memory
for _ in range(2):
    net.forward()
    net.gradient({"prob": 1.0}, "data")
table = net.table()
print((resident.peak() - before) / (table.totals["parameter_bytes"] + table.memory.data + table.memory.diffs))
"""


@needs_onednn
@pytest.mark.skipif(resident.now() is None, reason="the peak of a process's memory is read from Linux's /proc")
def test_the_peak_of_caffenet() -> None:
    """Of forward and gradient, the library and packed copies included, to weights, data and diffs."""
    found = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True, cwd=ROOT)
    assert float(found.stdout) < 1.4
