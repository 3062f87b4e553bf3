"""SoftmaxWithLoss against the definition, label by label."""

import math

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.runner import Case, build, check_gradient, check_manners

RULES = {
    "": {"normalization": "VALID"},
    "normalization: FULL": {"normalization": "FULL"},
    "normalization: BATCH_SIZE": {"normalization": "BATCH_SIZE"},
    "normalization: NONE": {"normalization": "NONE"},
    "normalize: true": {"normalization": "VALID"},
    "normalize: false": {"normalization": "BATCH_SIZE"},
    "normalize: false normalization: FULL": {"normalization": "FULL"},
    "ignore_label: 1": {"normalization": "VALID", "ignore": 1},
    "ignore_label: 255": {"normalization": "VALID", "ignore": 255},
    "ignore_label: -1 normalization: FULL": {"normalization": "FULL", "ignore": -1},
    "ignore_label: 0 normalize: false": {"normalization": "BATCH_SIZE", "ignore": 0},
    "ignore_label: 2 normalization: NONE": {"normalization": "NONE", "ignore": 2},
}
SHAPES = {  # scores -> labels, classes' axis
    (5, 4): ((5,), 1),
    (2, 4, 3, 2): ((2, 1, 3, 2), 1),
    (2, 3, 4): ((2, 3), -1),
    (4,): ((), 0),
}


def make(text: str, scores, tops: str = 'top: "loss"', seed: int = 1) -> Case:
    labels, axis = SHAPES[scores]
    rng = np.random.default_rng(seed)
    param = f"softmax_param {{ axis: {axis} }} loss_param {{ {text} }}"
    case = build(f'type: "SoftmaxWithLoss" bottom: "scores" bottom: "labels" {tops} {param}', [scores, labels])
    case.bottom[0].data[...] = 2 * rng.standard_normal(scores)
    ignore = RULES.get(text, {}).get("ignore")
    case.bottom[1].data[...] = rng.choice([0, 1, 2, 3] if ignore is None else [0, 1, 2, 3, ignore], labels)
    return case


def definition(scores, labels, axis, normalization, ignore=None):
    """The loss and its derivative, one label at a time."""
    rows = np.moveaxis(scores.astype(np.float64), axis, -1)
    diff, loss, counted = np.zeros_like(rows), 0.0, 0
    for where, label in zip(np.ndindex(rows.shape[:-1]), labels.reshape(-1), strict=True):
        if label == ignore:
            continue
        p = np.exp(rows[where]) / np.exp(rows[where]).sum()
        loss -= math.log(p[int(label)])
        diff[where] = p
        diff[where][int(label)] -= 1
        counted += 1
    outer = math.prod(scores.shape[: axis % scores.ndim])
    by = {"FULL": labels.size, "VALID": max(counted, 1), "BATCH_SIZE": outer, "NONE": 1}[normalization]
    return loss / by, np.moveaxis(diff, -1, axis) / by


@pytest.mark.parametrize("text", RULES)
@pytest.mark.parametrize("scores", SHAPES)
@pytest.mark.parametrize("weight", [1, 0.25])
def test_loss_and_diff_are_the_definition(text, scores, weight):
    case = make(text, scores)
    loss, diff = definition(case.bottom[0].data, case.bottom[1].data, SHAPES[scores][1], **RULES[text])
    (top,) = case.forward()
    assert top.shape == ()
    np.testing.assert_allclose(top, loss, 1e-5, 1e-6)
    case.top[0].diff[...] = weight
    case.bottom[1].diff[...] = 7
    np.testing.assert_allclose(case.backward()[0], weight * diff, 1e-4, 1e-6)
    assert (case.bottom[1].diff == 7).all()


@pytest.mark.parametrize("text", ["", "ignore_label: 1", "normalization: NONE"])
@pytest.mark.parametrize("scores", SHAPES)
def test_gradient(text, scores):
    rng = np.random.default_rng(2)
    case = make(text, scores)
    check_gradient(case, 0, rng)
    check_manners(case, rng)


def test_segnets_weights_of_classes():
    plain = make("normalization: NONE", (2, 4, 3, 2))
    weights = "class_weighting: 0.5 class_weighting: 3 class_weighting: 0 class_weighting: 1"
    weighted = make(f"normalization: NONE weight_by_label_freqs: true {weights}", (2, 4, 3, 2))
    scores, labels = weighted.bottom[0].data, weighted.bottom[1].data
    labels[...] = plain.bottom[1].data
    expected = 0.0
    for n, _, h, w in np.ndindex(labels.shape):
        p = np.exp(scores[n, :, h, w]) / np.exp(scores[n, :, h, w]).sum()
        label = int(labels[n, 0, h, w])
        expected -= [0.5, 3, 0, 1][label] * math.log(p[label])
    np.testing.assert_allclose(weighted.forward()[0], expected, 1e-5)
    check_gradient(weighted, 0, np.random.default_rng(2))


def test_rfcns_fixed_normalizer():
    whole = make("normalization: NONE", (5, 4)).forward()[0]
    part = make("normalization: PRE_FIXED pre_fixed_normalizer: 0.25", (5, 4)).forward()[0]
    np.testing.assert_allclose(part, 4 * whole, 1e-6)


def test_second_top_is_the_softmax():
    case = make("", (2, 4, 3, 2), 'top: "loss" top: "prob"')
    case.forward()
    e = np.exp(case.bottom[0].data)
    np.testing.assert_allclose(case.top[1].data, e / e.sum(axis=1, keepdims=True), 1e-5)
    case.top[0].diff[...] = 1
    expected = case.backward()[0].copy()
    case.top[1].data[...] = 9  # a later layer in place
    np.testing.assert_array_equal(case.backward()[0], expected)


def test_all_labels_ignored():
    case = make("ignore_label: 255", (5, 4))
    case.bottom[1].data[...] = 255
    assert case.forward()[0] == 0
    case.top[0].diff[...] = 1
    assert (case.backward()[0] == 0).all()


def test_certainly_wrong_costs_the_smallest_float():
    case = make("", (4,))
    case.bottom[0].data[...] = [0, 1e5, 0, 0]
    case.bottom[1].data[...] = 2
    np.testing.assert_allclose(case.forward()[0], -math.log(1.17549435e-38), 1e-6)


def test_the_whole_part_of_a_label_counts():
    case = make("", (4,))
    case.bottom[1].data[...] = 2
    exact = case.forward()[0].copy()
    case.bottom[1].data[...] = 2.75
    assert case.forward()[0] == exact


@pytest.mark.parametrize("label", [4, -1, 255, 1e20, np.inf, np.nan])
def test_a_label_that_is_no_class(label):
    case = make("ignore_label: 7", (2, 4, 3, 2))
    case.bottom[1].data[...] = 0
    case.bottom[1].data[1, 0, 2, 0] = label
    message = rf"label {label:g} at \(1, 0, 2, 0\) of bottom 'labels' is not one of the 4 classes 0 to 3"
    with pytest.raises(LayerError, match=message.replace("+", r"\+")):
        case.forward()
    case.bottom[1].data[...] = 7
    assert case.forward()[0] == 0


@pytest.mark.parametrize(
    ("text", "shapes", "message"),
    [
        ("", [(5, 4), (4,)], r"'bottom1' has shape \(4,\), 4 labels; scores of shape \(5, 4\) .* along axis 1 need 5"),
        ("", [(2, 4, 3), (2,)], "need 6"),
        ("softmax_param { axis: 2 }", [(5, 4), (5,)], "axis: 2 is outside"),
        ("", [(5, 4)], "takes 2 bottom"),
        ("loss_param { weight_by_label_freqs: true class_weighting: 1 }", [(5, 4), (5,)], "1 class_weighting for 4"),
    ],
)
def test_errors(text, shapes, message):
    with pytest.raises(LayerError, match=message):
        build(f'type: "SoftmaxWithLoss" {text}', shapes)
