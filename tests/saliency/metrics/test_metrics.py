"""Metrics, on maps and nets of which the answer is known."""

import itertools
from typing import Any

import numpy as np
import pytest

from caffepy import saliency
from caffepy.errors import ArgumentError
from caffepy.saliency import metrics
from tests.nets import make, noise
from tests.saliency.methods.cases import CLASSES, IMAGES, mixed
from tests.saliency.nets import CLASSIFIER

LINEAR = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 dim: 4 dim: 5 } } }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 2 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""


def linear() -> tuple[Any, np.ndarray, np.ndarray]:
    """A net whose score 1 is a weighted sum, its weights, an image."""
    net = make(LINEAR)
    weights = noise(2, 4, 5, seed=3)
    net.params["fc"][0].data[1] = weights.ravel()
    return net, weights, noise(1, 2, 4, 5, seed=4)


# ---- where the values lie


def test_pointing_game() -> None:
    values = np.zeros((20, 30))
    values[5, 25] = 1
    assert metrics.pointing_game(values, (20, 0, 28, 8))
    assert metrics.pointing_game(values, (0, 5, 15, 6), tolerance=11)
    assert not metrics.pointing_game(values, (0, 5, 15, 6), tolerance=10)


def test_energy_and_overlap() -> None:
    values = np.zeros((10, 10))
    values[2:4, 2:6] = 1  # 8 pixels
    values[8, 8] = 0.4
    values[0, 0] = -5
    assert metrics.energy_inside(values, (2, 2, 4, 4)) == pytest.approx(4 / 8.4)
    assert metrics.intersection_over_union(values, (2, 2, 6, 4)) == 1
    assert metrics.intersection_over_union(values, (2, 2, 4, 4)) == pytest.approx(4 / 8)
    assert metrics.intersection_over_union(values, (7, 5, 9, 7)) == 0


def test_sparseness_and_complexity() -> None:
    one, equal = np.eye(1, 100).reshape(10, 10), np.ones((10, 10))
    assert metrics.sparseness(one) == pytest.approx(0.99)
    assert metrics.sparseness(equal) == pytest.approx(0, abs=1e-6)
    assert metrics.complexity(one) == pytest.approx(0, abs=1e-6)
    assert metrics.complexity(equal) == pytest.approx(np.log(100))
    assert metrics.sparseness(0 * one) == metrics.complexity(0 * one) == 0
    half = np.array([[0, 0, 1, 1]])
    assert metrics.sparseness(half) == pytest.approx(0.5)
    assert metrics.complexity(half) == pytest.approx(np.log(2))


def test_boxes_outside_are_refused() -> None:
    with pytest.raises(ArgumentError, match="does not lie in the map"):
        metrics.energy_inside(np.ones((4, 5)), (0, 0, 6, 2))
    with pytest.raises(ArgumentError, match="finite values"):
        metrics.sparseness(np.full((4, 5), np.nan))


# ---- pixels taken away


def by_hand(net: Any, image: np.ndarray, order: np.ndarray, other: np.ndarray, blob: str) -> list[float]:
    """The score after 0, 5, 10, 15 and 20 pixels became `other`'s."""
    found = []
    for count in (0, 5, 10, 15, 20):
        changed = image.copy()
        for pixel in order[:count]:
            changed[0, :, pixel // 5, pixel % 5] = other[:, pixel // 5, pixel % 5]
        net.forward(data=changed)
        found.append(float(net.blobs[blob].data[0, 1]))
    return found


def test_deletion_and_pixel_flipping() -> None:
    net, weights, image = linear()
    values = (weights * image[0]).sum(axis=0)
    order = np.argsort(-values.ravel())
    right = by_hand(net, image, order, np.zeros((2, 4, 5)), "prob")
    curve = metrics.deletion(net, image, values, 1, steps=4)
    np.testing.assert_allclose(curve.scores, right, rtol=1e-4)
    np.testing.assert_allclose(curve.fractions, [0, 0.25, 0.5, 0.75, 1])
    assert curve.area == pytest.approx(sum((a + b) / 8 for a, b in itertools.pairwise(right)), rel=1e-4)
    mean = np.broadcast_to(image[0].mean(axis=(1, 2), keepdims=True), (2, 4, 5))
    for way, turned in (("most", order), ("least", order[::-1])):
        flipped = metrics.pixel_flipping(net, image, values, 1, order=way, steps=4)
        np.testing.assert_allclose(flipped.scores, by_hand(net, image, turned, mean, "fc"), rtol=1e-3, atol=1e-5)


def test_a_better_map_has_the_better_curves() -> None:
    net, weights, image = linear()
    good = (weights * image[0]).sum(axis=0)
    for bad in (-good, np.random.default_rng(0).random((4, 5))):
        assert metrics.deletion(net, image, good, 1).area < metrics.deletion(net, image, bad, 1).area
        assert metrics.insertion(net, image, good, 1).area > metrics.insertion(net, image, bad, 1).area
        assert metrics.road(net, image, good, 1) > metrics.road(net, image, bad, 1)


def test_insertion_begins_with_the_blurred_and_ends_with_the_image() -> None:
    net, _, image = linear()
    curve = metrics.insertion(net, image, np.random.default_rng(0).random((4, 5)), 1, steps=3)
    net.forward(data=image)
    assert curve.scores[-1] == pytest.approx(net.blobs["prob"].data[0, 1], rel=1e-5)
    assert len(curve.scores) == 4


def test_imputed_pixels_are_their_neighbours_means() -> None:
    from caffepy.saliency.metrics.erasing import _imputed

    image = np.full((1, 5, 5), 3, np.float32)
    gone = np.zeros((5, 5), bool)
    gone[1:4, 1:4] = True
    found = _imputed(image, gone, np.random.default_rng(0))
    np.testing.assert_allclose(found, 3, atol=1e-4)  # a constant image has no range, and so no noise
    image[0] = np.arange(5)
    found = _imputed(image, gone, np.random.default_rng(0))
    np.testing.assert_allclose(found[0, 2], np.arange(5), atol=0.3)
    np.testing.assert_array_equal(found[0, 0], np.arange(5))


# ---- what the net does


def test_completeness_error() -> None:
    net, weights, image = linear()
    assert metrics.completeness_error(net, image, weights * image[0], 1) < 1e-5
    assert metrics.completeness_error(net, image, 2 * weights * image[0], 1) == pytest.approx(1, rel=1e-4)
    found = saliency.integrated_gradients(make(CLASSIFIER), noise(1, 3, 5, 4), 1)
    assert metrics.completeness_error(make(CLASSIFIER), noise(1, 3, 5, 4), found, 1) < 1e-3


def test_infidelity_of_a_linear_net() -> None:
    net, weights, image = linear()
    assert metrics.infidelity(net, image, weights, 1) < 1e-8
    assert metrics.infidelity(net, image, 3 * weights, 1) < 1e-8  # scaled
    worse = metrics.infidelity(net, image, noise(2, 4, 5, seed=8), 1)
    assert worse > 1e-3


def test_sensitivity_n_of_a_linear_net() -> None:
    net, weights, image = linear()
    assert metrics.sensitivity_n(net, image, weights * image[0], 1, part=0.3) == pytest.approx(1, abs=1e-4)
    assert abs(metrics.sensitivity_n(net, image, noise(2, 4, 5, seed=8), 1, part=0.3, samples=200)) < 0.9


def test_max_sensitivity() -> None:
    net, _, image = linear()
    assert (
        metrics.max_sensitivity(net, image, saliency.gradient, 1) == 0
    )  # a linear net's gradient is the same anywhere
    steady = metrics.max_sensitivity(mixed(), IMAGES[:1], saliency.gradient, 1, radius=0.001)
    shaken = metrics.max_sensitivity(mixed(), IMAGES[:1], saliency.gradient, 1, radius=0.2)
    assert 0 <= steady < shaken


# ---- is it about this net?


def test_sanity_checks_tell_methods_apart_and_give_the_weights_back() -> None:
    net = mixed()
    before = {name: [blob.data.copy() for blob in blobs] for name, blobs in net.params.items()}
    for cascading in (True, False):
        found = metrics.sanity_checks(net, IMAGES[:1], saliency.gradient, CLASSES[0], cascading=cascading)
        assert list(found) == ["fc", "b", "a", "conv1"]
        assert all(-1 <= value <= 1 for value in found.values())
        assert abs(found["conv1"]) < 0.9
    for name, blobs in net.params.items():
        for blob, kept in zip(blobs, before[name], strict=True):
            np.testing.assert_array_equal(blob.data, kept)


def test_rank_correlation() -> None:
    rng = np.random.default_rng(0)
    values = rng.random(50)
    assert metrics.rank_correlation(values, np.exp(5 * values)) == pytest.approx(1)
    assert metrics.rank_correlation(values, -values) == pytest.approx(-1)
    assert metrics.rank_correlation([1, 2, 2, 3], [1, 2.5, 2.5, 4]) == pytest.approx(1)
    assert metrics.rank_correlation(values, np.zeros(50)) == 0


def test_one_image_at_a_time() -> None:
    with pytest.raises(ArgumentError, match="one image and one target at a time"):
        metrics.deletion(mixed(), IMAGES, np.ones((9, 8)), CLASSES)
    with pytest.raises(ArgumentError, match=r"the map is \(3, 3\), the image \(9, 8\)"):
        metrics.deletion(mixed(), IMAGES[:1], np.ones((3, 3)), 1)
