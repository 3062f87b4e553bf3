"""One net on both roads of the CPU, NumPy's and oneDNN's, with the same weights and inputs."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

import caffepy
from caffepy.device import engine
from caffepy.device.onednn import library
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import TEST, NetParameter

needs_onednn = pytest.mark.skipif(isinstance(library.load(), str), reason=f"oneDNN: {library.load()}")


@contextmanager
def road(name: str) -> Iterator[None]:
    """Let passes run on that engine meanwhile."""
    before = engine.cpu_engine()
    engine.set_cpu_engine(name)
    try:
        yield
    finally:
        engine.set_cpu_engine(before)


def build(body: str, shape: tuple[int, ...], phase: int = TEST, seed: int = 3, memory: str = "full") -> caffepy.Net:
    """A net of one input `data` and these layers, every weight and the input filled with noise."""
    extents = " ".join(f"dim: {extent}" for extent in shape)
    data = f'layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ {extents} }} }} }}'
    net = caffepy.Net(prototxt.parse(f"force_backward: true {data} {body}", NetParameter), phase, memory=memory)
    rng = np.random.default_rng(seed)
    for layer in net.layers:
        for index, blob in enumerate(layer.blobs):
            values = rng.standard_normal(blob.shape) / 4
            blob.data[...] = np.abs(values) + 0.5 if layer.type == "BatchNorm" and index else values
    net.blobs["data"].data[...] = rng.standard_normal(shape)
    return net


def passes(net: caffepy.Net) -> dict[str, np.ndarray]:
    """All that a forward pass, a gradient of noise and a backward pass of the same noise give, by name."""
    rng = np.random.default_rng(4)
    net.forward()
    found = {f"{name} data": blob.data.copy() for name, blob in net.blobs.items()}
    noise = {name: rng.standard_normal(net.blobs[name].shape).astype(np.float32) for name in net.outputs}
    found["gradient"] = net.gradient(noise, "data")["data"].copy()
    net.clear_param_diffs()
    net.backward(**noise)
    found |= {f"{name} diff": blob.diff.copy() for name, blob in net.blobs.items()}
    for layer in net.layers:
        found |= {f"{layer.name} weight {i} diff": blob.diff.copy() for i, blob in enumerate(layer.blobs)}
    return found


def assert_alike(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], bound: float = 2e-5) -> None:
    """Every array close to the other of its name, by its largest element."""
    for name, values in expected.items():
        largest = np.abs(values).max(initial=1e-20)
        worst = np.abs(found[name] - values).max(initial=0)
        assert worst <= bound * largest, f"{name}: {worst / largest:.2e} apart"


def captured(net: caffepy.Net, what: str = "forward") -> list[str]:
    """The names of the calls that the net's captured pass of that kind consists of."""
    found = net.execution.replay.on_cpu.captured(what)
    assert len(found) == 1
    return found[0].names
