"""Normalize against its definitions, SSD's and the older one."""

import math

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.runner import build, check_gradient, check_manners, fill


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (3, 4)])
def test_normalize(shape, shared, across):
    flags = f"across_spatial: {across} channel_shared: {shared} eps: 0.1".lower()
    case = build(f'type: "Normalize" norm_param {{ {flags} scale_filler {{ value: 20 }} }}', [shape])
    assert np.all(case.weights[0].data == 20)
    rng = np.random.default_rng(0)
    fill(case, rng)
    x = case.bottom[0].data.astype(np.float64)
    axes = tuple(range(1, x.ndim)) if across else 1
    scale = case.weights[0].data if shared else case.weights[0].data.reshape(-1, *(1,) * (x.ndim - 2))
    expected = x / np.sqrt((x**2).sum(axis=axes, keepdims=True) + 0.1) * scale
    np.testing.assert_allclose(case.forward()[0], expected, 1e-5, 1e-6)
    check_gradient(case, 0, rng)
    check_gradient(case, ("param", 0), rng)
    check_manners(case, rng)


@pytest.mark.parametrize("second_diff", ["true", "false"])
@pytest.mark.parametrize("kind", ["L1", "L2"])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (3, 4)])
def test_lengths(shape, kind, second_diff):
    text = f'type: "Normalize" normalize_param {{ normalize_type: "{kind}" bp_norm: {second_diff} }}'
    case = build(text + 'bottom: "x" top: "y" top: "lengths"', [shape])
    assert not case.weights
    rng = np.random.default_rng(0)
    fill(case, rng)
    x = case.bottom[0].data.astype(np.float64)
    lengths = np.zeros((shape[0], 1, *shape[2:]))
    for n, *place in np.ndindex(shape[0], *shape[2:]):
        channels = [x[(n, c, *place)] for c in range(shape[1])]
        total = sum(abs(v) for v in channels) if kind == "L1" else math.sqrt(sum(v * v for v in channels))
        lengths[(n, 0, *place)] = total
    top, found = case.forward()
    assert found.shape == lengths.shape
    np.testing.assert_allclose(found, lengths, 1e-5)
    np.testing.assert_allclose(top, x / lengths, 1e-5)
    kinks = np.abs(x) < 0.05 if kind == "L1" else None
    check_gradient(case, 0, rng, skip=kinks, tops=(0, 1) if second_diff == "true" else (0,))
    check_manners(case, rng)
    case.top[0].diff[...], case.top[1].diff[...] = 0, 1
    assert case.backward()[0].any() == (second_diff == "true")


def test_a_second_top_alone_means_lengths():
    case = build('type: "Normalize" bottom: "x" top: "y" top: "lengths"', [(2, 3)])
    case.bottom[0].data[...] = [[3, 0, 4], [0, 0, 0]]
    top, lengths = case.forward()
    np.testing.assert_allclose(lengths, [[5], [1e-3]], 1e-6)
    np.testing.assert_allclose(top, [[0.6, 0, 0.8], [0, 0, 0]], 1e-6)


def test_channels_must_stay():
    case = build('type: "Normalize" norm_param { channel_shared: false }', [(2, 3, 4)])
    with pytest.raises(LayerError, match=r"bottom shape \(2, 5, 4\) must keep the 3 channels of the scale"):
        case.reshape((2, 5, 4))
