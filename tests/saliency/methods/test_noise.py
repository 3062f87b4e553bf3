"""SmoothGrad and its kin, against means of slow gradients of the same noisy images."""

from typing import Any

import numpy as np
import pytest

from caffepy import saliency
from caffepy.errors import ArgumentError
from tests.saliency.methods.cases import CLASSES, IMAGES, close, mixed, same_on_a_gpu, slow_gradient
from tests.saliency.slow import Slow, Step

SAMPLES, NOISE = 7, 0.1


def noisy(n: int) -> np.ndarray:
    """The copies of image n: Box and Muller's deviates of Philox's singles, in float64."""
    uniform = np.random.Generator(np.random.Philox(key=5 + n)).random(2 * SAMPLES * IMAGES[n].size, dtype=np.float32)
    first, second = uniform.astype(np.float64).reshape(-1, 2).T
    deviates = np.sqrt(-2 * np.log(1 - first)) * np.cos(2 * np.pi * second)
    return IMAGES[n] + NOISE * np.ptp(IMAGES[n]) * deviates.reshape(SAMPLES, *IMAGES[n].shape)


def slow_maps() -> list[np.ndarray]:
    gradient = slow_gradient(mixed())
    return [np.stack([gradient(x, c) for x in noisy(n)]) for n, c in enumerate(CLASSES)]


def test_noise_is_normal() -> None:
    copies = np.concatenate([((noisy(n) - IMAGES[n]) / (NOISE * np.ptp(IMAGES[n]))).ravel() for n in (0, 1)])
    assert abs(copies.mean()) < 0.06
    assert abs(copies.std() - 1) < 0.05


@pytest.mark.parametrize("batch", [None, 1, 3])
def test_the_definitions(batch: int | None) -> None:
    maps = slow_maps()
    options: Any = {"samples": SAMPLES, "noise": NOISE, "seed": 5, "batch": batch}
    for method, fold in (
        (saliency.smoothgrad, lambda g: g.mean(axis=0)),
        (saliency.smoothgrad_squared, lambda g: (g**2).mean(axis=0)),
        (saliency.vargrad, lambda g: g.var(axis=0)),
    ):
        found = method(mixed(), IMAGES, CLASSES, **options)
        close(found, np.stack([fold(g) for g in maps]), 1e-3)


def test_of_another_method() -> None:
    def guided(step: Step, dy: np.ndarray) -> list[np.ndarray]:
        return [np.maximum(dy, 0) * (step.bottoms[0] > 0)]

    net, right = mixed(), []
    for n, c in enumerate(CLASSES):
        slow = Slow(net)
        slow.forward(noisy(n))
        right.append(slow.backward("fc", np.eye(6)[[c] * SAMPLES], {"ReLU": guided}).mean(axis=0))
    composed = saliency.smoothgrad(saliency.guided_backprop, samples=SAMPLES, noise=NOISE, seed=5)
    assert composed.name == "smoothgrad(guided-backprop)"
    found = composed(net, IMAGES, CLASSES)
    close(found, np.stack(right), 1e-3)
    close(
        saliency.smoothgrad(net, IMAGES, CLASSES, of=saliency.guided_backprop, samples=SAMPLES, noise=NOISE, seed=5),
        found.numpy(),
    )


def test_of_a_cam_it_has_the_cams_shape() -> None:
    found = saliency.smoothgrad(saliency.grad_cam, samples=3)(mixed(), IMAGES, CLASSES)
    assert found.array.shape == (2, 2, 2)


def test_on_a_gpu(gpu: Any) -> None:
    same_on_a_gpu(saliency.smoothgrad, samples=4)
    same_on_a_gpu(saliency.vargrad, samples=4, batch=3)


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(ArgumentError, match="samples is 0"):
        saliency.smoothgrad(mixed(), IMAGES, samples=0)
    with pytest.raises(ArgumentError, match="explains the input only"):
        saliency.smoothgrad(mixed(), IMAGES, layer="pool1")
    with pytest.raises(ArgumentError, match="unexpected keyword argument 'sample'; it takes samples=50"):
        saliency.smoothgrad(mixed(), IMAGES, sample=3)
    with pytest.raises(ArgumentError, match="gradient wraps no other method"):
        saliency.gradient(saliency.smoothgrad)
