"""Methods of one backward pass, against slow nets."""

from typing import Any

import numpy as np
import pytest

import caffepy as caffe
from caffepy import saliency
from caffepy.saliency import METHODS, Method
from tests.nets import make, noise
from tests.saliency.nets import MIXED
from tests.saliency.slow import Slow, Step

CLASSES = [1, 4]


def guided(step: Step, dy: np.ndarray) -> list[np.ndarray]:
    return [np.maximum(dy, 0) * (step.bottoms[0] > 0)]


def deconv(step: Step, dy: np.ndarray) -> list[np.ndarray]:
    return [np.maximum(dy, 0)]


SLOW: dict[str, Any] = {
    "gradient": lambda slow, diff: slow.backward("fc", diff),
    "input-x-gradient": lambda slow, diff: slow.backward("fc", diff) * slow.steps[0].bottoms[0],
    "guided-backprop": lambda slow, diff: slow.backward("fc", diff, {"ReLU": guided}),
    "deconvnet": lambda slow, diff: slow.backward("fc", diff, {"ReLU": deconv}),
}


def expected(name: str, net: caffe.Net, image: np.ndarray, classes: list[int]) -> np.ndarray:
    slow = Slow(net)
    slow.forward(image)
    return SLOW[name](slow, np.eye(6)[classes])


@pytest.mark.parametrize("name", SLOW)
def test_the_definition(name: str) -> None:
    net, image = make(MIXED), noise(2, 3, 9, 8)
    found = METHODS[name](net, image, CLASSES)
    right = expected(name, net, image, CLASSES)
    np.testing.assert_allclose(found.numpy(), right, rtol=1e-4, atol=1e-5 * abs(right).max())
    maps = right.sum(axis=1) if found.signed else abs(right).max(axis=1)
    np.testing.assert_allclose(found.maps(), maps, rtol=1e-4, atol=3e-5 * abs(right).max())


@pytest.mark.parametrize("name", SLOW)
def test_on_a_gpu(name: str, gpu: Any) -> None:
    caffe.set_mode_cpu()
    net, image = make(MIXED), noise(2, 3, 9, 8)
    right = expected(name, net, image, CLASSES)
    caffe.set_mode_gpu()
    for _ in range(3):  # launch by launch, captured, replayed
        found = METHODS[name](net, image, CLASSES)
        assert not isinstance(found.array, np.ndarray)
        np.testing.assert_allclose(found.numpy(), right, rtol=1e-4, atol=1e-5 * abs(right).max())


def test_rules_hold_for_the_time_of_a_call_only() -> None:
    net, image = make(MIXED), noise(2, 3, 9, 8)
    plain = saliency.gradient(net, image, 3).numpy()
    saliency.guided_backprop(net, image, 3)
    np.testing.assert_array_equal(saliency.gradient(net, image, 3).numpy(), plain)


def test_a_blob_in_mid_net() -> None:
    net, image = make(MIXED), noise(2, 3, 9, 8)
    slow = Slow(net)
    slow.forward(image)
    right = slow.backward("fc", np.eye(6)[CLASSES], wrt="pool1")
    found = saliency.gradient(net, image, CLASSES, layer="pool1")
    np.testing.assert_allclose(found.numpy(), right, rtol=1e-4, atol=1e-6)


def test_every_method_says_what_it_is() -> None:
    for name, method in METHODS.items():
        assert isinstance(method, Method)
        assert method.name == name
        assert (method.__doc__ or "").strip()
