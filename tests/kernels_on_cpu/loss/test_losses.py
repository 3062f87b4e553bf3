"""Losses: which labels count, the first bad one, the sums and their derivatives."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from caffepy.kernels import Kernel
from caffepy.layers.activation.softmax import softmax_forward
from caffepy.layers.basis.labels import LabelRule, label_check
from caffepy.layers.loss import contrastive_loss, euclidean_loss, hinge_loss, infogain_loss, l1_loss, smooth_l1_loss
from caffepy.layers.loss import multinomial_logistic_loss as multinomial
from caffepy.layers.loss import sigmoid_cross_entropy_loss as sigmoid_loss
from caffepy.layers.loss.loss import loss_normalizer, loss_sum
from caffepy.layers.loss.softmax_loss import softmax_loss_backward, softmax_loss_forward
from caffepy.proto.caffe_pb2 import LossParameter
from tests.gpu_mode import check_bodies
from tests.layers.runner import build, fill

CLASSES = 6
PLAIN = LabelRule(False, 0, LossParameter.VALID)
IGNORING = LabelRule(True, 255, LossParameter.VALID)
ONE_IGNORED = LabelRule(True, 1, LossParameter.VALID)

pytestmark = pytest.mark.usefixtures("gpu")


def labels(count: int) -> np.ndarray:
    """Classes, some of them with a fraction."""
    rng = np.random.default_rng(count)
    return rng.integers(0, CLASSES, count).astype(np.float32) + rng.choice([0, 0, 0.75, -0.5], count)


def with_bad_ones(count: int) -> np.ndarray:
    """Ignored labels and others that are no class, here and there."""
    found = labels(count)
    found[::3], found[1::7], found[2::11], found[4::13] = 255, -1, np.nan, 1e30
    return found.astype(np.float32)


@pytest.mark.parametrize("rule", [PLAIN, IGNORING])
@pytest.mark.parametrize("bad", [{}, {0: -1}, {2999: 6}, {2998: np.nan, 2999: np.inf}, {7: 255, 1500: -1e30, 2524: 7}])
def test_the_first_bad_label_is_found(bad: dict[int, float], rule: LabelRule) -> None:
    label_data = labels(3000).astype(np.float32)
    for place, value in bad.items():
        label_data[place] = value
    bad_label, bad_value = np.array([-9], np.int32), np.array([-9], np.float32)
    check_bodies(label_check, label_data, CLASSES, bad_label, bad_value, rule=rule, rtol=0, atol=0)


@pytest.mark.parametrize("normalization", LossParameter.NormalizationMode.values())
@pytest.mark.parametrize("ignores", [False, True])
@pytest.mark.parametrize("extent", [(1, 1), (50, 7)])
def test_normalizer(extent: tuple[int, int], ignores: bool, normalization: int) -> None:
    rule = LabelRule(ignores, 255, normalization, 0.25)
    label_data = with_bad_ones(extent[0] * extent[1])
    check_bodies(loss_normalizer, label_data, *extent, np.zeros(1, np.float32), rule=rule, rtol=0, atol=0)


@pytest.mark.parametrize("probability", [0.3, 0, 1e-42, np.nan])
@pytest.mark.parametrize("rule", [PLAIN, IGNORING])
@pytest.mark.parametrize("extent", [(1, CLASSES, 1), (40, CLASSES, 1), (3, CLASSES, 111)])
@pytest.mark.parametrize("weighted", [False, True])
def test_loss_and_its_derivative_pass_bad_labels_over(
    extent: tuple[int, int, int], rule: LabelRule, probability: float, weighted: bool
) -> None:
    rng = np.random.default_rng(0)
    prob = np.empty(extent, np.float32)
    softmax_forward(rng.standard_normal(extent).astype(np.float32), *extent, prob)
    label_data, normalizer = with_bad_ones(extent[0] * extent[2]), np.full(1, 7, np.float32)
    label_data[0], prob[0, 1, 0] = 1, probability
    weight = rng.random(CLASSES, np.float32) if weighted else None
    check_bodies(softmax_loss_forward, prob, label_data, weight, *extent, np.full(3, np.nan, np.float32), rule=rule)
    top_diff, bottom_diff = np.full((), 0.3, np.float32), np.full(extent, np.nan, np.float32)
    check_bodies(softmax_loss_backward, prob, label_data, weight, *extent, normalizer, top_diff, bottom_diff, rule=rule)


def test_a_bad_label_is_told_after_the_pass() -> None:
    case = build('type: "SoftmaxWithLoss"', [(4, 5), (4,)])
    fill(case, np.random.default_rng(0))
    case.bottom[1].data[...] = 1, 5, -3, 9
    with pytest.raises(LayerError, match=r"label 5 at \(1,\) of bottom 'bottom1' is not one of the 5 classes 0 to 4"):
        case.forward()
    case.bottom[1].data[...] = 1, 2, 3, 4
    assert np.isfinite(case.forward()[0])


def losses_of(count: int, channels: int) -> list[tuple[Kernel[...], tuple[object, ...], dict[str, object]]]:
    """The other losses' forward operations: what they take before their parts, and their constants."""
    rng = np.random.default_rng(count)
    a, b, weight = rng.standard_normal((3, count, channels)).astype(np.float32)
    a[0, 0], b[-1, -1] = np.nan, np.inf
    label_data, squared = with_bad_ones(count), rng.random(count, np.float32) * 9
    infogain, p = rng.random((channels, channels), np.float32), rng.random((count, channels), np.float32)
    l1 = {"plateau": 0.5, "epsilon": 0.01}
    contrastive = {"margin": 2.0}
    return [
        (euclidean_loss.euclidean_loss_forward, (a, b, a.size), {}),
        (hinge_loss.hinge_loss_forward, (a, label_data, count, channels), {"squared": False, "rule": PLAIN}),
        (hinge_loss.hinge_loss_forward, (a, label_data, count, channels), {"squared": True, "rule": PLAIN}),
        (
            contrastive_loss.contrastive_loss_forward,
            (squared, label_data, None, count),
            contrastive | {"legacy_version": False},
        ),
        (
            contrastive_loss.contrastive_loss_forward,
            (squared, label_data, np.roll(label_data, 1), count),
            contrastive | {"legacy_version": True},
        ),
        (multinomial.multinomial_logistic_loss_forward, (p, label_data, count, channels), {"rule": PLAIN}),
        (infogain_loss.infogain_loss_forward, (p, label_data, infogain, count, channels, 1), {"rule": IGNORING}),
        (sigmoid_loss.sigmoid_cross_entropy_loss_forward, (a, np.trunc(p * 3), a.size), {"rule": ONE_IGNORED}),
        (smooth_l1_loss.smooth_l1_loss_forward, (a, b, weight, p, a.size), {"sigma": 2.0}),
        (smooth_l1_loss.smooth_l1_loss_forward, (a, b, None, None, a.size), {"sigma": 2.0}),
        (l1_loss.l1_loss_entries, (a, b, a.size), l1),
        (l1_loss.l1_loss_forward, (a, None, a.size), l1),
        (l1_loss.l1_loss_lengths_forward, (squared, squared.size), l1),
    ]


@pytest.mark.parametrize("parts", [1, 7, 300])
@pytest.mark.parametrize(("count", "channels"), [(1, 2), (41, CLASSES), (130, 33)])
def test_sums_of_losses(count: int, channels: int, parts: int) -> None:
    for operation, args, constants in losses_of(count, channels):
        check_bodies(operation, *args, np.full(parts, np.nan, np.float32), **constants, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("normalizer", [None, np.full(1, 3, np.float32)])
@pytest.mark.parametrize("parts", [1, 1024])
def test_sum_of_the_parts(parts: int, normalizer: np.ndarray | None) -> None:
    values = np.random.default_rng(0).random(parts, np.float32)
    check_bodies(loss_sum, values, normalizer, 2.5, np.full((), np.nan, np.float32))


@pytest.mark.parametrize(("count", "channels"), [(1, 2), (41, CLASSES), (130, 33)])
def test_derivatives_of_losses(count: int, channels: int) -> None:
    rng = np.random.default_rng(count)
    a, b, weight, diff = rng.standard_normal((4, count, channels)).astype(np.float32)
    a[0, 0] = np.nan
    label_data, squared, p = with_bad_ones(count), rng.random(count, np.float32) * 9, rng.random(a.shape, np.float32)
    infogain, sums = rng.random((channels, channels), np.float32), rng.random(channels, np.float32)
    top_diff, normalizer = np.full((), 0.3, np.float32), np.full(1, 7, np.float32)
    sizes, rows = (count, channels), np.full((count, 1), np.nan, np.float32)
    for square in (False, True):
        args = a, label_data, *sizes, top_diff, diff
        check_bodies(hinge_loss.hinge_loss_backward, *args, squared=square, rule=PLAIN)
        args = a, b, label_data, np.roll(label_data, 1) if square else None, squared, *sizes, top_diff, diff
        check_bodies(contrastive_loss.contrastive_loss_backward, *args, margin=2.0, legacy_version=square)
    check_bodies(contrastive_loss.contrastive_distances, p, b, channels, squared)
    check_bodies(euclidean_loss.euclidean_loss_backward, a, b, top_diff, count, diff)
    args = p, label_data, *sizes, top_diff, diff
    check_bodies(multinomial.multinomial_logistic_loss_backward, *args, rule=PLAIN)
    args = p, label_data, infogain, sums, *sizes, 1, normalizer, top_diff, diff
    check_bodies(infogain_loss.infogain_loss_backward, *args, rule=IGNORING)
    check_bodies(infogain_loss.infogain_row_sums, infogain, channels, sums, rule=IGNORING)
    args = a, np.trunc(p * 3), normalizer, top_diff, diff
    check_bodies(sigmoid_loss.sigmoid_cross_entropy_loss_backward, *args, rule=ONE_IGNORED)
    for w in (None, weight):
        check_bodies(smooth_l1_loss.smooth_l1_loss_backward, a, b, w, w, top_diff, count, diff, sigma=2.0)
    for second in (None, b):
        l1 = {"plateau": 0.5, "epsilon": 0.01}
        check_bodies(l1_loss.l1_loss_backward, a, second, normalizer, top_diff, -1.0, diff, **l1)
        check_bodies(l1_loss.l1_loss_squares, a, second, channels, 1, 0.5, rows, **l1)
        args = a, second, np.maximum(squared - 1, 0)[:, None], channels, 1, normalizer, top_diff, -1.0, diff
        check_bodies(l1_loss.l1_loss_lengths_backward, *args, **l1)
