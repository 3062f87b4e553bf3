"""Nets on a GPU that does nothing before somebody waits: what the host writes meanwhile must not change results."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

import caffepy as caffe
from caffepy import device
from tests.cuda_on_cpu import EmulatedCuda, unavailable
from tests.gpu_mode import downloaded
from tests.nets import CHAIN, FORCED, make, noise


@pytest.fixture(scope="module")
def late() -> EmulatedCuda:
    if reason := unavailable():
        pytest.skip(reason)
    return EmulatedCuda(late=True)


@pytest.fixture(autouse=True)
def gpu_mode(late: EmulatedCuda) -> Iterator[None]:
    device.use(late)
    caffe.set_mode_gpu()
    yield
    device.use()


def gradients(net: caffe.Net) -> list[np.ndarray]:
    """Of five classes, one after the other."""
    net.forward(data=noise(2, 3, 8, 8))
    found = []
    for index in range(5):
        diff = np.zeros((2, 5), np.float32)
        diff[:, index] = 1
        found.append(net.gradient({"fc": diff})["data"])
    return found


def run(net: caffe.Net) -> None:
    """A forward pass whose results nobody waits for."""
    net.forward_from_to(0, len(net.layers) - 1)


def forwards(net: caffe.Net) -> list[np.ndarray]:
    """Inputs written one after the other, results kept on the GPU until the end."""
    found = []
    for seed in range(4):
        net.blobs["data"].data[...] = noise(2, 3, 8, 8, seed=seed)
        run(net)
        found.append(net.gradient({"fc": 1.0})["data"])
    return found


def kept_view(net: caffe.Net) -> list[np.ndarray]:
    """A view of the input that is written right after each pass."""
    view, found = net.blobs["data"].data, []
    for seed in range(4):
        view[...] = noise(2, 3, 8, 8, seed=seed)
        run(net)
        view[...] = 99
        found.append(net.blobs["fc"].data.copy())
    return found


def grown(net: caffe.Net) -> list[np.ndarray]:
    """A reshape gives the host's memory back while it is copied."""
    found = []
    for batch in (2, 3, 4):
        net.blobs["data"].reshape(batch, 3, 8, 8)
        net.blobs["data"].data[...] = noise(batch, 3, 8, 8)
        run(net)
        net.blobs["data"].reshape(batch + 3, 3, 8, 8)
        net.blobs["data"].data[...] = 5
        found.append(net.blobs["fc"].data.copy())
    return found


@pytest.mark.parametrize("use", [gradients, forwards, kept_view, grown])
def test_results_are_the_cpus(use: Callable[[caffe.Net], list[np.ndarray]]) -> None:
    text = FORCED if use is gradients else CHAIN
    found = [array if isinstance(array, np.ndarray) else downloaded(array) for array in use(make(text))]
    expected = use(make(text, device="cpu"))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
