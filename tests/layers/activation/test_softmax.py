"""Softmax against the definition in float64."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.runner import build, check_gradient, check_manners, fill

SHAPES = [((4, 10), 1), ((2, 3, 4, 5), 1), ((2, 3, 4, 5), 0), ((2, 3, 4), -1), ((7,), 0), ((2, 1, 3), 1)]
LARGE = [((3, 5, 40000), 1), ((50, 3000), 1), ((2, 20, 9000), 1), ((9000, 20), 0)]  # several blocks


def make(axis, shape, names='bottom: "x" top: "y"'):
    return build(f'type: "Softmax" {names} softmax_param {{ axis: {axis} }}', [shape])


def definition(x, axis):
    e = np.exp(x.astype(np.float64) - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


@pytest.mark.parametrize(("shape", "axis"), SHAPES + LARGE)
@pytest.mark.parametrize("names", ['bottom: "x" top: "y"', 'bottom: "x" top: "x"'])
def test_forward_and_backward_are_the_definition(shape, axis, names):
    rng = np.random.default_rng(1)
    case = make(axis, shape, names)
    fill(case, rng, 3)
    p = definition(case.bottom[0].data, axis)
    np.testing.assert_allclose(case.forward()[0], p, 1e-5, 1e-7)
    case.top[0].diff[...] = diff = rng.standard_normal(shape).astype(np.float32)
    expected = p * (diff - (diff * p).sum(axis=axis, keepdims=True))
    np.testing.assert_allclose(case.backward()[0], expected, 1e-4, 1e-6)


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_gradient(shape, axis):
    rng = np.random.default_rng(2)
    case = make(axis, shape)
    fill(case, rng)
    check_gradient(case, 0, rng)
    check_manners(case, rng)


def test_large_scores_do_not_overflow():
    case = make(1, (1, 3))
    case.bottom[0].data[...] = [1e4, 1e4, -1e4]
    assert case.forward()[0].tolist() == [[0.5, 0.5, 0]]


def test_a_new_shape_settles():
    case = make(1, (4, 10))
    case.reshape((2, 3, 5))
    np.testing.assert_allclose(case.forward()[0], 1 / 3, 1e-6)


def test_axis_must_exist():
    with pytest.raises(LayerError, match=r"axis: 2 is outside bottom 0, whose shape is \(4, 10\)"):
        make(2, (4, 10))
