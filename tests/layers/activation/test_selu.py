"""SeLu and SeLuDropout against their definitions and distributions."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from caffepy.proto.caffe_pb2 import TEST, TRAIN
from tests.layers.runner import build, check_gradient, check_manners, fill


def away_from_zero(case, rng):
    case.bottom[0].data[...] = rng.choice([-1, 1], case.bottom[0].shape) * rng.uniform(0.1, 2, case.bottom[0].shape)


@pytest.mark.parametrize("place", ["", 'bottom: "x" top: "x"'])
def test_selu(place):
    case = build('type: "SeLu"' + place, [(3, 4, 5)])
    rng = np.random.default_rng(0)
    away_from_zero(case, rng)
    x = case.bottom[0].data.astype(np.float64)
    expected = 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * (np.exp(x) - 1))
    np.testing.assert_allclose(case.forward()[0], expected, 1e-5, 1e-6)
    case.bottom[0].data[...] = x
    check_gradient(case, 0, rng)
    check_manners(case, rng)


def test_selu_keeps_mean_and_variance():
    case = build('type: "SeLu"', [(1_000_000,)])
    fill(case, np.random.default_rng(0))
    (top,) = case.forward()
    assert abs(top.mean()) < 5e-3
    assert abs(top.var() - 1) < 5e-3


def test_selu_dropout():
    case = build('type: "SeLuDropout" selu_dropout_param { dropout_ratio: 0.2 }', [(500_000,)], TRAIN)
    rng = np.random.default_rng(0)
    fill(case, rng)
    (top,) = case.forward()
    assert abs(top.mean()) < 1e-2
    assert abs(top.var() - 1) < 1e-2
    common, counts = np.unique(top, return_counts=True)
    assert abs(counts.max() / top.size - 0.2) < 2e-3
    dropped = top == common[counts.argmax()]
    case.top[0].diff[...] = 1
    (diff,) = case.backward()
    assert not diff[dropped].any()
    assert np.unique(diff[~dropped]).size == 1
    small = build('type: "SeLuDropout"', [(7, 9)], TRAIN)
    fill(small, rng)
    check_gradient(small, 0, rng)
    check_manners(small, rng)


def test_selu_dropout_when_testing():
    case = build('type: "SeLuDropout"', [(7, 9)], TEST)
    rng = np.random.default_rng(0)
    fill(case, rng)
    np.testing.assert_array_equal(case.forward()[0], case.bottom[0].data)
    check_gradient(case, 0, rng)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('type: "SeLuDropout" selu_dropout_param { dropout_ratio: 1 }', "dropout_ratio: 1 must be above 0 and below 1"),
    ],
)
def test_errors(text, says):
    with pytest.raises(LayerError, match=says):
        build(text, [(2, 3)])
