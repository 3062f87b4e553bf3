"""Losses over labels: which count, the first bad one, the sum and its derivative."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from caffepy.layers.loss import LabelRule, label_check, loss_normalizer
from caffepy.layers.softmax import softmax_forward
from caffepy.layers.softmax_loss import softmax_loss_backward, softmax_loss_forward
from caffepy.proto.caffe_pb2 import LossParameter
from tests.gpu_mode import check_bodies
from tests.layers.runner import build, fill

CLASSES = 6
PLAIN = LabelRule(False, 0, LossParameter.VALID)
IGNORING = LabelRule(True, 255, LossParameter.VALID)

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
    rule = LabelRule(ignores, 255, normalization)
    label_data = with_bad_ones(extent[0] * extent[1])
    check_bodies(loss_normalizer, label_data, *extent, np.zeros(1, np.float32), rule=rule, rtol=0, atol=0)


@pytest.mark.parametrize("probability", [0.3, 0, 1e-42, np.nan])
@pytest.mark.parametrize("rule", [PLAIN, IGNORING])
@pytest.mark.parametrize("extent", [(1, CLASSES, 1), (40, CLASSES, 1), (3, CLASSES, 111)])
def test_loss_and_its_derivative_pass_bad_labels_over(
    extent: tuple[int, int, int], rule: LabelRule, probability: float
) -> None:
    rng = np.random.default_rng(0)
    prob = np.empty(extent, np.float32)
    softmax_forward(rng.standard_normal(extent).astype(np.float32), *extent, prob)
    label_data, normalizer = with_bad_ones(extent[0] * extent[2]), np.full(1, 7, np.float32)
    label_data[0], prob[0, 1, 0] = 1, probability
    top = np.full((), np.nan, np.float32)
    check_bodies(softmax_loss_forward, prob, label_data, *extent, normalizer, top, rule=rule)
    top_diff, bottom_diff = np.full((), 0.3, np.float32), np.full(extent, np.nan, np.float32)
    check_bodies(softmax_loss_backward, prob, label_data, *extent, normalizer, top_diff, bottom_diff, rule=rule)


def test_a_bad_label_is_told_after_the_pass() -> None:
    case = build('type: "SoftmaxWithLoss"', [(4, 5), (4,)])
    fill(case, np.random.default_rng(0))
    case.bottom[1].data[...] = 1, 5, -3, 9
    with pytest.raises(LayerError, match=r"label 5 at \(1,\) of bottom 'bottom1' is not one of the 5 classes 0 to 4"):
        case.forward()
    case.bottom[1].data[...] = 1, 2, 3, 4
    assert np.isfinite(case.forward()[0])
