"""What the tests of methods have in common: a net, images, and its slow gradient."""

from collections.abc import Callable
from typing import Any

import numpy as np

import caffepy as caffe
from caffepy.saliency import Method
from tests.nets import make, noise
from tests.saliency.nets import MIXED
from tests.saliency.slow import Slow

CLASSES = [1, 4]
IMAGES = noise(2, 3, 9, 8)


def mixed() -> caffe.Net:
    return make(MIXED)


def slow_gradient(net: caffe.Net, wrt: str = "") -> Callable[[np.ndarray, int], np.ndarray]:
    """(one image, class) -> dS/d(wrt), in float64."""

    def gradient(image: np.ndarray, index: int) -> np.ndarray:
        slow = Slow(net)
        slow.forward(image[np.newaxis])
        return slow.backward("fc", np.eye(6)[[index]], wrt=wrt)[0]

    return gradient


def slow_score(net: caffe.Net, image: np.ndarray, index: int) -> float:
    return float(Slow(net).forward(image[np.newaxis])["fc"][0, index])


def close(found: Any, right: np.ndarray, tolerance: float = 1e-4) -> None:
    """Agreement relative to the largest value."""
    values = found.numpy() if hasattr(found, "numpy") else found
    np.testing.assert_allclose(values, right, rtol=tolerance, atol=tolerance * abs(right).max())


def same_on_a_gpu(method: Method, **parameters: Any) -> None:
    """The method's arrays in GPU mode are those in CPU mode. Call it in GPU mode."""
    caffe.set_mode_cpu()
    net = mixed()
    right = method(net, IMAGES, CLASSES, **parameters).numpy()
    caffe.set_mode_gpu()
    for _ in range(2):
        found = method(net, IMAGES, CLASSES, **parameters)
        assert not isinstance(found.array, np.ndarray)
        close(found, right, 1e-3)
