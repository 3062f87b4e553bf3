"""MarginInnerProduct and LabelSpecificAdd, score by score from their definitions."""

import math

import numpy as np
import pytest

from caffepy.errors import LayerError
from caffepy.proto.caffe_pb2 import TEST, TRAIN
from tests.gpu_mode import REAL, running
from tests.layers.runner import build, check_gradient, check_manners, fill

MARGINS = {"SINGLE": 1, "DOUBLE": 2, "TRIPLE": 3, "QUADRUPLE": 4}
CLASSES, INPUTS = 5, 6


def psi(angle, margin):
    k = min(math.floor(margin * angle / math.pi), margin - 1)
    return (-1) ** k * math.cos(margin * angle) - 2 * k


def case_of(kind, settings="", num=12, phase=TRAIN):
    param = f"margin_inner_product_param {{ num_output: {CLASSES} type: {kind} {settings} }}"
    case = build(f'type: "MarginInnerProduct" top: "s" top: "l" {param}', [(num, INPUTS), (num,)], phase)
    rng = np.random.default_rng(2)
    fill(case, rng)
    case.bottom[1].data[...] = np.arange(num) % CLASSES
    return case, rng


def scores(case, margin, strength):
    x, labels, w = (b.data.astype(np.float64) for b in (*case.bottom, *case.weights))
    top = np.empty((len(x), CLASSES))
    for n, j in np.ndindex(top.shape):
        product = x[n] @ w[j] / np.linalg.norm(w[j])
        top[n, j] = product
        if j == labels[n]:
            length = np.linalg.norm(x[n])
            angle = math.acos(product / length)
            top[n, j] = (length * psi(angle, margin) + strength * product) / (1 + strength)
    return top


@pytest.mark.parametrize("mode", ["cpu", "gpu-random", REAL])
@pytest.mark.parametrize("kind", MARGINS)
def test_forward(kind, mode):
    with running(mode):
        case, _ = case_of(kind, "base: 3 gamma: 0.5 power: 2 iteration: 1")
        strength = 3 * (1 + 0.5 * 2) ** -2
        expected = scores(case, MARGINS[kind], strength)
        top, found = case.forward()
        np.testing.assert_allclose(top, expected, 1e-4, 1e-5)
        np.testing.assert_allclose(found, [strength])
        np.testing.assert_allclose(np.linalg.norm(case.weights[0].data, axis=1), 1, 1e-5)
        np.testing.assert_allclose(case.forward()[1], [3 * 2.5**-2])


def test_lambda_has_a_least_value():
    case, _ = case_of("DOUBLE", "base: 1000 gamma: 1 lambda_min: 600")
    assert [case.forward()[1][0] for _ in range(3)] == [600, 600, 600]
    case, _ = case_of("DOUBLE", "base: 1000 gamma: 1 lambda_min: 300")
    assert [case.forward()[1][0] for _ in range(4)] == [500, np.float32(1000 / 3), 300, 300]


@pytest.mark.parametrize("mode", ["cpu", "gpu-random", REAL])
@pytest.mark.parametrize("kind", MARGINS)
def test_backward(kind, mode):
    margin, strength = MARGINS[kind], 0.5
    with running(mode):
        case, rng = case_of(kind, f"base: {strength}")
        case.forward()
        case.top[0].diff[...] = diff = rng.standard_normal((12, CLASSES)).astype(np.float32)
        case.weights[0].diff[...] = 1
        found = case.backward()[0].copy()
        x, labels, w = (b.data.astype(np.float64) for b in (*case.bottom, *case.weights))
        np.testing.assert_allclose(case.weights[0].diff, 1 + diff.T @ x, 1e-4, 1e-4)
    expected = diff @ w
    for n in range(12 if margin > 1 else 0):
        j, step = int(labels[n]), 1e-6
        slope = np.empty(INPUTS)
        for i in range(INPUTS):
            moved = [x[n] + step * sign * np.eye(INPUTS)[i] for sign in (1, -1)]
            values = [
                np.linalg.norm(y) * psi(math.acos(np.clip(y @ w[j] / np.linalg.norm(y), -1, 1)), margin) for y in moved
            ]
            slope[i] = (values[0] - values[1]) / (2 * step)
        u, v = np.linalg.lstsq(np.stack([w[j], x[n]], axis=1), slope, rcond=None)[0]  # slope = u w + v x
        direction = slope / math.hypot(u, v)
        expected[n] += diff[n, j] * ((direction + strength * w[j]) / (1 + strength) - w[j])
    np.testing.assert_allclose(found, expected, 1e-3, 1e-3)


def test_single_is_a_product_of_unit_weights():
    case, rng = case_of("SINGLE")
    check_manners(case, rng)
    check_gradient(case, 0, rng)


@pytest.mark.parametrize(
    ("text", "shapes", "says"),
    [
        ("", [(2, 3), (2,)], "num_output must be at least 1"),
        ("num_output: 3", [(2, 3), (3,)], "a label for each of the 2 rows"),
    ],
)
def test_errors(text, shapes, says):
    with pytest.raises(LayerError, match=says):
        build(f'type: "MarginInnerProduct" margin_inner_product_param {{ {text} }}', shapes)


@pytest.mark.parametrize("label", [-1, CLASSES, np.nan])
def test_labels_are_checked(label):
    for case in (case_of("DOUBLE")[0], build('type: "LabelSpecificAdd"', [(12, CLASSES), (12,)], TRAIN)):
        fill(case, np.random.default_rng(0))
        case.bottom[1].data[...] = 0
        case.bottom[1].data[3] = label
        with pytest.raises(LayerError, match=r"label .* at \(3,\) of bottom 'bottom1' is not one of the 5 classes"):
            case.forward()


@pytest.mark.parametrize("mode", ["cpu", "gpu-random", REAL])
@pytest.mark.parametrize("names", ['bottom: "x" bottom: "l" top: "y"', 'bottom: "x" bottom: "l" top: "x"'])
@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_label_specific_add(names, phase, mode):
    with running(mode):
        case = build(
            f'type: "LabelSpecificAdd" {names} label_specific_add_param {{ bias: -0.35 }}', [(4, 3), (4,)], phase
        )
        x = np.array([[1, 0, 0], [0, 0.34, 0], [0, 0, 0.36], [-1, 0, 0]], np.float32)
        case.bottom[0].data[...], case.bottom[1].data[...] = x, [0, 1, 2, 0]
        expected = x.copy()
        if phase == TRAIN:
            expected[0, 0] += np.float32(-0.35)
            expected[2, 2] += np.float32(-0.35)
        np.testing.assert_array_equal(case.forward()[0], expected)
        case.top[0].diff[...] = x
        np.testing.assert_array_equal(case.backward([True, False])[0], x)
