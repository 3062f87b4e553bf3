"""Normalize, ChannelScale and BN against their definitions."""

import math

import numpy as np
import pytest

from caffepy.errors import LayerError
from caffepy.proto.caffe_pb2 import TEST, TRAIN
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


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (3, 4), (2, 1, 3)])
@pytest.mark.parametrize("kind", ["ChannelScale", "MaskPooling"])
def test_channel_scale(shape, kind):
    case = build(f'type: "{kind}"', [shape, (shape[0], 1, *shape[2:])])
    rng = np.random.default_rng(0)
    fill(case, rng)
    x, scale = (blob.data.copy() for blob in case.bottom)
    np.testing.assert_array_equal(case.forward()[0], x * scale)
    for index in (0, 1):
        check_gradient(case, index, rng)
    check_manners(case, rng)


def test_channel_scale_undoes_normalize():
    case = build('type: "ChannelScale"', [(2, 3, 2), (2, 2)])  # as many scales in another shape
    case.bottom[0].data[...] = [[[0.6, 1], [0, 0], [0.8, 0]]] * 2
    case.bottom[1].data[...] = [[5, 2], [1, 0]]
    (top,) = case.forward()
    np.testing.assert_allclose(top, [[[3, 2], [0, 0], [4, 0]], [[0.6, 0], [0, 0], [0.8, 0]]], 1e-6)


SEGNET = 'type: "BN" bn_param { scale_filler { value: 2 } shift_filler { value: 0.5 } }'
AFFINE = 'type: "BN" bn_param { bn_mode: INFERENCE }'
PSPNET = 'type: "BN" bn_param { slope_filler { value: 2 } momentum: 0.75 eps: 0.01 }'
FROZEN = 'type: "BN" bn_param { frozen: true eps: 0.01 }'


def by_definition(x, weights, text, phase):
    axes = 0, *range(2, x.ndim)
    shape = (1, -1, *(1,) * (x.ndim - 2))
    weights = [w.reshape(shape).astype(np.float64) for w in weights]
    if text == AFFINE:
        return x * weights[0] + weights[1]
    mean, variance = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)
    if text == FROZEN or (text == PSPNET and phase == TEST):
        mean, variance = weights[2:]
    return (x - mean) / np.sqrt(variance + (1e-9 if text == SEGNET else 0.01)) * weights[0] + weights[1]


@pytest.mark.parametrize("place", ["", 'bottom: "x" top: "x"'])
@pytest.mark.parametrize("phase", [TRAIN, TEST])
@pytest.mark.parametrize("text", [SEGNET, AFFINE, PSPNET, FROZEN])
@pytest.mark.parametrize("shape", [(3, 2, 4, 3), (6, 3)])
def test_bn(shape, text, phase, place):
    case = build(text + place, [shape], phase)
    assert [blob.shape for blob in case.weights] == [(1, shape[1], 1, 1)] * (4 if text in (PSPNET, FROZEN) else 2)
    rng = np.random.default_rng(0)
    fill(case, rng)
    for blob in case.weights[3:]:
        blob.data[...] = 0.5 + blob.data**2
    weights = [blob.data.copy() for blob in case.weights]
    x = case.bottom[0].data.astype(np.float64)
    np.testing.assert_allclose(case.forward()[0], by_definition(x, weights, text, phase), 1e-4, 1e-4)
    if text == PSPNET and phase == TRAIN:
        batch = x.mean(axis=(0, *range(2, x.ndim))), x.var(axis=(0, *range(2, x.ndim)))
        for stored, old, new in zip(case.weights[2:], weights[2:], batch, strict=True):
            np.testing.assert_allclose(stored.data.ravel(), 0.75 * old.ravel() + 0.25 * new, 1e-5)
    else:
        assert all(np.array_equal(blob.data, old) for blob, old in zip(case.weights, weights, strict=True))
    case.bottom[0].data[...] = x
    check_gradient(case, 0, rng, tolerance=1e-2)
    if text != FROZEN:
        check_gradient(case, ("param", 0), rng)
        check_gradient(case, ("param", 1), rng)
    check_manners(case, rng)


def test_the_batchs_statistics_are_tops():
    case = build(SEGNET + 'bottom: "x" top: "y" top: "mean" top: "variance"', [(3, 2, 4)])
    fill(case, np.random.default_rng(0))
    _, mean, variance = case.forward()
    x = case.bottom[0].data
    np.testing.assert_allclose(mean, x.mean(axis=(0, 2)).reshape(1, 2, 1, 1), 1e-5, 1e-6)
    np.testing.assert_allclose(variance, x.var(axis=(0, 2)).reshape(1, 2, 1, 1), 1e-5)


@pytest.mark.parametrize(
    ("text", "shape", "says"),
    [
        ('type: "Normalize"', (3,), "must have 2 axes at least, items and channels, got shape"),
        ('type: "Normalize" normalize_param { } norm_param { }', (3, 2), "norm_param is of SSD, normalize_param and"),
        ('type: "Normalize" norm_param { } top: "y" top: "z"', (3, 2), "norm_param is of SSD, normalize_param and"),
        ('type: "Normalize" normalize_param { normalize_type: "L3" }', (3, 2), "normalize_type: 'L3' must be L1 or L2"),
        (SEGNET, (3,), "must have 2 axes at least, items and channels, got shape"),
        (AFFINE + 'bottom: "x" top: "y" top: "mean"', (3, 2), "tops 1 and 2 are the batch's mean and variance"),
    ],
)
def test_errors(text, shape, says):
    with pytest.raises(LayerError, match=says):
        build(text, [shape])


@pytest.mark.parametrize("scale", [(2, 3), (6,), (3, 1, 2), (2, 3, 1)])
def test_scales_that_do_not_fit(scale):
    with pytest.raises(LayerError, match=r"'bottom1' has shape .*; give one scale for each item and place of bottom"):
        build('type: "ChannelScale"', [(2, 3, 2), scale])


@pytest.mark.parametrize("text", ['type: "Normalize" norm_param { channel_shared: false }', SEGNET])
def test_channels_must_stay(text):
    case = build(text, [(2, 3, 4)])
    with pytest.raises(LayerError, match=r"bottom shape \(2, 5, 4\) must keep the 3 channels of the scale"):
        case.reshape((2, 5, 4))
