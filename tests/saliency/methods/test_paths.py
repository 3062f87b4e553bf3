"""Integrated gradients and their kin: slow sums along the path, and completeness."""

import itertools
from typing import Any

import numpy as np
import pytest

from caffepy import io, saliency, zoo
from caffepy.errors import ArgumentError
from tests.nets import make, noise
from tests.saliency.methods.cases import CLASSES, IMAGES, close, mixed, same_on_a_gpu, slow_gradient, slow_score
from tests.saliency.nets import CLASSIFIER

BASELINE = noise(3, 9, 8, seed=9)


def test_integrated_gradients_are_a_weighted_sum_of_gradients_on_the_way() -> None:
    net, gradient = mixed(), slow_gradient(mixed())
    nodes, weights = np.polynomial.legendre.leggauss(6)
    right = []
    for image, c in zip(IMAGES, CLASSES, strict=True):
        total = sum(
            w / 2 * gradient(BASELINE + (node + 1) / 2 * (image - BASELINE), c)
            for node, w in zip(nodes, weights, strict=True)
        )
        right.append((image - BASELINE) * total)
    for batch in (None, 4):
        found = saliency.integrated_gradients(net, IMAGES, CLASSES, steps=6, baseline=BASELINE, batch=batch, error=None)
        close(found, np.stack(right), 1e-3)


def test_integrated_gradients_of_a_smooth_net_are_complete() -> None:
    net, images = make(CLASSIFIER), noise(2, 3, 5, 4)
    found = saliency.integrated_gradients(net, images, CLASSES, steps=50)
    net.forward(data=np.zeros_like(images))
    start = net.blobs["fc"].data[[0, 1], CLASSES]
    np.testing.assert_allclose(found.numpy().sum(axis=(1, 2, 3)), found.score - start, rtol=1e-3)


def test_integrated_gradients_of_rectifiers_are_complete() -> None:
    model = zoo.fashion_mnist()
    pictures = np.stack([io.load_image(sample.picture, color=False) for sample in model.samples])
    images, net = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)), model.net()
    found = saliency.integrated_gradients(net, images)
    plain = saliency.integrated_gradients(net, images, error=None)
    net.forward(data=np.zeros_like(images[:1]))
    gained = found.score - net.blobs[net.layers[-1].param.bottom[0]].data[0, list(found.classes)]
    assert abs(found.numpy().sum(axis=(1, 2, 3)) / gained - 1).max() < 1.01e-3
    assert abs(plain.numpy().sum(axis=(1, 2, 3)) / gained - 1).max() > 1e-2


def test_refined_integrated_gradients_are_the_dense_sum() -> None:
    net, gradient = mixed(), slow_gradient(mixed())
    targets, dense = [CLASSES[0], CLASSES[1]], (np.arange(2000) + 0.5) / 2000
    found = saliency.integrated_gradients(net, 3 * IMAGES[:1], targets, steps=4, error=1e-4)
    for values, c in zip(found.numpy(), targets, strict=True):
        right = np.mean([gradient(3 * at * IMAGES[0], c) for at in dense], axis=0) * 3 * IMAGES[0]
        close(values, right, 0.02)


def test_a_score_that_does_not_change_asks_for_no_refinement() -> None:
    net = make(CLASSIFIER)
    found = saliency.integrated_gradients(net, np.zeros((1, 3, 5, 4)), 1, steps=1)
    assert not found.numpy().any()
    energy = saliency.integrated_gradients(net, noise(1, 3, 5, 4), lambda net: {"fc": net.blobs["fc"].data}, steps=3)
    assert np.isfinite(energy.numpy()).all()


def test_what_a_linear_net_gives_is_known() -> None:
    net = make("""
        layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 1 dim: 3 dim: 4 } } }
        layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 2
                weight_filler { type: "gaussian" std: 1 } bias_filler { type: "constant" value: 3 } } }
    """)
    image, weights = noise(1, 1, 3, 4), net.params["fc"][0].data[1].reshape(1, 1, 3, 4)
    for method, parameters in (
        (saliency.integrated_gradients, {"steps": 3}),
        (saliency.guided_integrated_gradients, {"steps": 9}),
        (saliency.input_x_gradient, {}),
        (saliency.expected_gradients, {"references": np.zeros((1, 1, 3, 4)), "samples": 4}),
    ):
        close(method(net, image, 1, **parameters), weights * image)


def test_expected_gradients_of_one_reference_are_integrated_gradients() -> None:
    net, images = make(CLASSIFIER), noise(2, 3, 5, 4)
    right = saliency.integrated_gradients(net, images, CLASSES, baseline=0.5).numpy()
    references = np.full((1, 3, 5, 4), 0.5)
    found = saliency.expected_gradients(net, images, CLASSES, references=references, samples=400)
    assert abs(found.numpy() - right).max() < 0.1 * abs(right).max()


def slow_blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Each row, then each column, averaged with a Gaussian, one value at a time."""
    result = image.astype(np.float64)
    for axis in (1, 2):
        size, source = image.shape[axis], result.copy()
        for i in range(size):
            weights = np.exp(-((np.arange(size) - i) ** 2) / (2 * sigma**2)) if sigma else np.arange(size) == i
            mean = np.tensordot(source, weights / weights.sum(), (axis, 0))
            result[(slice(None),) * axis + (i,)] = mean
    return result


def test_blur_integrated_gradients() -> None:
    net, gradient, steps = mixed(), slow_gradient(mixed()), 5
    right = []
    for image, c in zip(IMAGES, CLASSES, strict=True):
        way = [slow_blur(image, 2.0 * (1 - i / steps) ** 2) for i in range(steps + 1)]
        right.append(sum(gradient((a + b) / 2, c) * (b - a) for a, b in itertools.pairwise(way)))
    for batch in (None, 2):
        found = saliency.blur_integrated_gradients(net, IMAGES, CLASSES, steps=steps, batch=batch)
        close(found, np.stack(right), 1e-3)


def test_guided_integrated_gradients_move_small_gradients_first_and_are_complete() -> None:
    net, images = make(CLASSIFIER), noise(2, 3, 5, 4)
    found = saliency.guided_integrated_gradients(net, images, CLASSES, steps=300)
    for n, c in enumerate(CLASSES):
        change = slow_score(net, images[n], c) - slow_score(net, 0 * images[n], c)
        np.testing.assert_allclose(found.numpy()[n].sum(), change, atol=0.01 * abs(found.numpy()[n]).sum())


def test_one_step_of_the_guided_path_by_hand() -> None:
    from caffepy.saliency.methods.guided_path import attributions

    slopes = np.float32([1, -2, 4, 8])

    def gradient(x: np.ndarray) -> np.ndarray:
        seen.append(x.copy())
        return slopes

    seen: list[np.ndarray] = []
    image, start = np.float32([1, 1, 1, 1]), np.zeros(4, np.float32)
    shares = attributions(image, start, gradient, 4, 0.25, 1.0)
    np.testing.assert_allclose(seen, [[0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]])
    np.testing.assert_allclose(shares, slopes)
    seen.clear()
    attributions(image, start, gradient, 4, 0.25, 0.25)  # no further than a quarter from the straight path
    np.testing.assert_allclose(seen[1], [0.5, 0.5, 0, 0])


def test_on_a_gpu(gpu: Any) -> None:
    same_on_a_gpu(saliency.integrated_gradients, steps=4)
    same_on_a_gpu(saliency.expected_gradients, samples=3)
    same_on_a_gpu(saliency.blur_integrated_gradients, steps=3)


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(ArgumentError, match=r"the baseline has shape \(2, 2\)"):
        saliency.integrated_gradients(mixed(), IMAGES, baseline=np.zeros((2, 2)))
    with pytest.raises(ArgumentError, match="references have shape"):
        saliency.expected_gradients(mixed(), IMAGES, references=np.zeros((2, 3)))
    with pytest.raises(ArgumentError, match="steps is 0"):
        saliency.integrated_gradients(mixed(), IMAGES, steps=0)
