"""Operations of forks' layers: both bodies alike."""

import numpy as np
import pytest

from caffepy.layers.activation.insanity import insanity_forward
from caffepy.layers.activation.selu import selu_backward, selu_dropout_forward, selu_forward
from caffepy.layers.basis.labels import LabelRule
from caffepy.layers.common.inner_distance import (
    inner_distance_backward,
    inner_distance_backward_weights,
    inner_distance_forward,
)
from caffepy.layers.detection.ohem import smooth_l1_loss_each, softmax_loss_each
from caffepy.layers.detection.roi_pooling import (
    psroi_pool_backward,
    psroi_pool_forward,
    roi_check,
    roi_pool_backward,
    roi_pool_forward,
)
from caffepy.layers.loss.sigmoid_loss import sigmoid_loss_targets
from caffepy.layers.normalization.bn import bn_gather
from caffepy.layers.normalization.normalize import (
    How,
    normalize_backward,
    normalize_backward_weights,
    normalize_forward,
    normalize_lengths,
    normalize_sums,
)
from caffepy.layers.segmentation.yolo_seg import yolo_seg_backward, yolo_seg_forward, yolo_seg_scales
from caffepy.layers.utility.axpy import axpy_forward
from caffepy.layers.utility.broadcast import broadcast_backward, broadcast_forward
from caffepy.layers.vision.upsample import unpool_backward, unpool_claim, unpool_clear, unpool_forward
from tests.gpu_mode import check_bodies

pytestmark = pytest.mark.usefixtures("gpu")


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def whole(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int32)


def test_unpool() -> None:
    mask = np.float32([[0, 3, 3, 7], [5, -1, 8, np.nan], [2, 2, 2, 2]])
    owner = np.full((3, 8), 5, np.int32)
    check_bodies(unpool_clear, owner)
    owner[...] = -1
    check_bodies(unpool_claim, mask, 4, 8, owner)
    unpool_claim.twin(mask, 4, 8, owner)
    check_bodies(unpool_forward, noise(3, 4), owner, noise(3, 8), rtol=0, atol=0)
    check_bodies(unpool_backward, noise(3, 8), mask, 4, 8, owner, noise(3, 4), rtol=0, atol=0)


@pytest.mark.parametrize("multiply", [False, True])
def test_broadcast(multiply: bool) -> None:
    layout = whole(1, 2, 3, 4, 5, 6, 24, 12, 0, 6, 0, 1, 360, 0, 20, 5, 1, 0)
    first, second, top = noise(2, 4, 6), noise(3, 4, 5), noise(2, 3, 4, 5, 6)
    check_bodies(broadcast_forward, first, second, layout, top, rtol=0, atol=0, multiply=multiply)
    other = second if multiply else None
    check_bodies(broadcast_backward, top, other, layout, first, atol=1e-5)


def test_axpy() -> None:
    check_bodies(axpy_forward, noise(6), noise(6, 7), 1 + noise(6, 7), 7, noise(6, 7))


def test_bn() -> None:
    check_bodies(bn_gather, noise(5), 1 + noise(5), 0.75, 2 + noise(5), 3 + noise(5))


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_normalize(shared: bool, across: bool) -> None:
    how, extent = How(across, shared, 0.1), (2, 150, 5)
    x, dy, scale = noise(*extent), 1 + noise(*extent), 2 + noise(1 if shared else 150)
    sums = (2,) if across else (2, 5)
    squares, along = np.abs(noise(*sums)) + 1, noise(*sums)
    check_bodies(normalize_sums, x, dy, None, *extent, squares, atol=1e-3, how=how)
    check_bodies(normalize_sums, x, dy, scale, *extent, squares, atol=1e-3, how=how)
    check_bodies(normalize_forward, x, squares, scale, *extent, dy, how=how)
    check_bodies(normalize_backward, x, dy, squares, along, scale, None, *extent, noise(*extent), atol=1e-5, how=how)
    check_bodies(normalize_backward_weights, x, dy, squares, *extent, scale, atol=1e-3, how=how)


@pytest.mark.parametrize("absolute", [False, True])
def test_normalize_lengths(absolute: bool) -> None:
    how, extent = How(False, True, 1e-6, absolute), (2, 150, 5)
    x, dy, lengths_diff = noise(*extent), 1 + noise(*extent), 2 + noise(2, 1, 5)
    sums, along = np.abs(noise(2, 5)) + 1, noise(2, 5)
    check_bodies(normalize_sums, x, None, None, *extent, sums, atol=1e-3, how=how)
    check_bodies(normalize_lengths, sums, lengths_diff, how=how)
    check_bodies(normalize_forward, x, sums, None, *extent, dy, how=how)
    check_bodies(
        normalize_backward, x, dy, sums, along, None, lengths_diff, *extent, noise(*extent), atol=1e-5, how=how
    )


def test_yolo_seg() -> None:
    extent, parts = (3, 5, 120), np.zeros(4, np.float32)
    x, label, scales = noise(*extent), np.abs(noise(*extent)), np.zeros(5, np.float32)
    places = np.float32(np.arange(15).reshape(3, 5))
    check_bodies(yolo_seg_scales, places, *extent, 0.3, scales)
    yolo_seg_scales.twin(places, *extent, 0.3, scales)
    for given in (None, scales):
        check_bodies(yolo_seg_forward, x, label, given, *extent, 0.3, parts, rtol=1e-4)
        check_bodies(yolo_seg_backward, x, label, given, *extent, 0.3, noise(1), noise(*extent), atol=1e-6)


REGIONS = np.float32(
    [[0, 0, 0, 31, 23], [1, 8.5, 4, 20, 12], [1, 5, 5, 5, 5], [2, 0, 0, 9, 9], [0, -10, 3, 12, 60], [0, 90, 90, 99, 99]]
)


def test_roi_pooling() -> None:
    check_bodies(roi_check, REGIONS, 6, 2, whole(7), noise(1))
    check_bodies(roi_check, REGIONS[:3], 3, 2, whole(7), noise(1))
    x, top, mask = noise(2, 3, 6, 8), noise(6, 3, 3, 2), np.zeros((6, 3, 3, 2), np.int32)
    sizes = 2, 3, 6, 8, 3, 2
    check_bodies(roi_pool_forward, x, REGIONS, *sizes, 0.25, mask, top, rtol=0, atol=0)
    roi_pool_forward.twin(x, REGIONS, *sizes, 0.25, mask, top)
    check_bodies(roi_pool_backward, noise(6, 3, 3, 2), REGIONS, mask, *sizes, 6, 0.25, noise(2, 3, 6, 8))


def test_psroi_pooling() -> None:
    x, top = noise(2, 18, 6, 8), noise(6, 2, 3, 3)
    check_bodies(psroi_pool_forward, x, REGIONS, 2, 2, 3, 6, 8, 0.25, top)
    check_bodies(psroi_pool_backward, noise(6, 2, 3, 3), REGIONS, 2, 2, 3, 6, 8, 6, 0.25, x)


def test_drawn_at_random() -> None:
    for count in (64, 83):
        x, seed = noise(count), whole(1701)
        check_bodies(insanity_forward, x, seed, noise(count), noise(count), smallest=3.0, largest=8.0)
        check_bodies(insanity_forward, x, None, noise(count), noise(count), smallest=3.0, largest=8.0)
        numbers = {"dropout_ratio": 0.25, "scale": 0.9, "shift": 0.1, "dropped": -1.5}
        check_bodies(selu_dropout_forward, x, seed, noise(count), noise(count), **numbers)


@pytest.mark.parametrize("start", [0, 1])
def test_selu(start: int) -> None:
    x, y, dy = noise(83), 1 + noise(83), noise(83)
    check_bodies(selu_forward, x, y, start=start, scale=1.05, alpha=1.67)
    check_bodies(selu_backward, y, dy, x, start=start, scale=1.05, alpha=1.67)


def test_losses_of_each() -> None:
    prob, labels = np.abs(noise(3, 4, 5)), np.float32([[0, 1, 2, 3, 4], [-1, 0, 2, np.nan, 1], [3, 3, 3, 3, 3]])
    rule = LabelRule(True, 2, 1)
    check_bodies(softmax_loss_each, prob, labels, 3, 4, 5, noise(3, 5), rule=rule)
    for weights in (None, noise(3, 4, 5)):
        check_bodies(smooth_l1_loss_each, noise(3, 4, 5), prob, weights, 3, 4, 5, noise(3, 5))


@pytest.mark.parametrize("l1", [False, True])
def test_inner_distance(l1: bool) -> None:
    x, weight, dy = noise(5, 70), 1 + noise(6, 70), noise(5, 6)
    check_bodies(inner_distance_forward, x, weight, noise(6), 6, 70, dy.copy(), l1=l1)
    check_bodies(inner_distance_backward, x, weight, dy, 6, 70, noise(5, 70), atol=1e-5, l1=l1)
    check_bodies(inner_distance_backward_weights, x, weight, dy, 5, 6, 70, noise(6, 70), atol=1e-5, l1=l1)


def test_sigmoid_loss_targets() -> None:
    labels = np.float32([0, 0.5, 1, 1.5, 2, -1, np.nan, 1, 1])
    check_bodies(sigmoid_loss_targets, labels, noise(9), rtol=0, atol=0)
