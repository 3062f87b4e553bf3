"""A dropped net gives its memory back at once: nothing in it is a part of a reference cycle."""

import gc
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import caffepy as caffe
from caffepy import dnn
from caffepy.errors import CaffeError
from caffepy.zoo.nets import NETS
from tests.cpu.roads import needs_onednn, road
from tests.gpu_mode import REAL, running
from tests.nets import CHAIN, FORCED, FORK, make, noise

LAYER = """
import caffe
class Double(caffe.Layer):
    def setup(self, bottom, top): self.blobs.add_blob(1)
    def reshape(self, bottom, top): top[0].reshape(*bottom[0].shape)
    def forward(self, bottom, top): top[0].data[...] = 2 * bottom[0].data
    def backward(self, top, propagate_down, bottom): bottom[0].diff[...] = 2 * top[0].diff
"""
PYTHON = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "own" type: "Python" bottom: "data" top: "y"
        python_param { module: "cycle_free_layer" layer: "Double" } }
"""
PICTURES = CHAIN.replace("dim: 2", "dim: 10", 1)


@pytest.fixture(params=["cpu", "gpu-ascending", REAL])
def mode(request: pytest.FixtureRequest) -> Iterator[None]:
    with running(request.param):
        yield


@pytest.fixture(autouse=True)
def _counted_only() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def parts(net: caffe.Net) -> list[weakref.ref]:
    """The net, its layers and what holds its memory."""
    whole = [net, net.execution, net.execution.replay, *net.execution.layers]
    return [weakref.ref(part) for part in whole]


def used(net: caffe.Net) -> None:
    """Do with it what scripts do, mistakes included."""
    rng = np.random.default_rng(1)
    for _ in range(3):
        net.forward(**{name: rng.standard_normal(net.blobs[name].shape) for name in net.inputs})
        net.backward(**{name: np.ones(net.blobs[name].shape) for name in net.outputs})
        net.gradient(dict.fromkeys(net.outputs, 1.0))
    assert "total" in repr(net) + str(net.profile(1))
    for mistake in (
        lambda: net.forward(start="nowhere"),
        lambda: net.forward(**dict.fromkeys(net.inputs, np.zeros(7))),
        lambda: net.gradient({"nothing": 1.0}),
        lambda: net.copy_from("nowhere.caffemodel"),
    ):
        with pytest.raises(CaffeError):
            mistake()


def left(made: list[weakref.ref]) -> list[object]:
    return [part() for part in made if part() is not None]


@pytest.mark.usefixtures("mode")
@pytest.mark.filterwarnings("ignore::caffepy.NotComputedWarning")
@pytest.mark.parametrize("text", [CHAIN, FORCED, FORK, PYTHON], ids=["chain", "forced", "fork", "python"])
def test_a_dropped_net_is_gone(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cycle_free_layer.py").write_text(LAYER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cycle_free_layer", raising=False)
    net = make(text)
    used(net)
    net.save(tmp_path / "net.caffemodel")
    net.copy_from(tmp_path / "net.caffemodel")
    made = parts(net)
    del net
    assert not left(made)


def test_an_exception_in_a_pass_keeps_nothing() -> None:
    net = make(CHAIN)
    net.after_forward(lambda layer: 1 // (1 - layer))
    with pytest.raises(ZeroDivisionError):
        net.forward()
    made = parts(net)
    del net
    assert not left(made)


def test_nor_does_a_net_that_cannot_be_built() -> None:
    before = sum(isinstance(each, caffe.Net) for each in gc.get_objects())
    for text in (
        CHAIN.replace("kernel_size: 3", ""),
        CHAIN.replace('bottom: "pool1"', 'bottom: "none"'),
        CHAIN + CHAIN,
    ):
        with pytest.raises(CaffeError):
            make(text)
    assert sum(isinstance(each, caffe.Net) for each in gc.get_objects()) == before


def classifier(folder: Path) -> tuple[object, caffe.Net]:
    net = caffe.Classifier(str(folder / "net.prototxt"), str(folder / "net.caffemodel"), image_dims=(9, 9))
    net.predict([noise(12, 12, 3)])
    return net, net


def detector(folder: Path) -> tuple[object, caffe.Net]:
    net = caffe.Detector(str(folder / "net.prototxt"), str(folder / "net.caffemodel"), context_pad=1)
    net.crop(noise(12, 12, 3), (1, 1, 9, 9))
    return net, net


def opencv(folder: Path) -> tuple[object, caffe.Net]:
    net = dnn.readNetFromCaffe(str(folder / "net.prototxt"), str(folder / "net.caffemodel"))
    net.setInput(noise(1, 3, 8, 8))
    net.forward()
    assert net._net is not None
    return net, net._net


def module(folder: Path) -> tuple[object, caffe.Net]:
    torch = pytest.importorskip("torch")
    make(CHAIN).to_torch()(torch.ones(2, 3, 8, 8, requires_grad=True)).sum().backward()
    gc.collect()  # what importing torch leaves behind holds frames
    net = caffe.Net(str(folder / "net.prototxt"), str(folder / "net.caffemodel"), caffe.TEST)
    wrapped = net.to_torch()
    x = torch.ones(2, 3, 8, 8, requires_grad=True)
    wrapped(x).sum().backward()
    return wrapped, net


@pytest.mark.parametrize("build", [classifier, detector, opencv, module])
def test_what_holds_a_net_lets_go_of_it(build: Callable[[Path], tuple[object, caffe.Net]], tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(PICTURES)
    make(PICTURES).save(tmp_path / "net.caffemodel")
    holder, net = build(tmp_path)
    made = [*parts(net), weakref.ref(holder)]
    del holder, net
    assert not left(made)


@needs_onednn
@pytest.mark.parametrize("memory", ["full", "inference"])
def test_a_closed_net_s_captured_passes_are_gone(memory: str) -> None:
    with road("onednn"):
        net = caffe.Net(NETS["squeezenet_v1_1"](1, 64), caffe.TEST, memory=memory)
        net.forward()
        if memory == "full":
            net.gradient({"prob": 1.0}, "data")
        arena = net.execution.replay.on_cpu.arena
        assert arena.size
        kept = [weakref.ref(part) for part in (arena, arena._buffer, *net.execution.replay.on_cpu.captured())]
        del arena
        net.close()
    assert [part() for part in kept] == [None] * len(kept)
