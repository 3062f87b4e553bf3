"""Pooling against its definition, window by window, Caffe's odd corners included."""

import math

import numpy as np
import pytest

from caffepy.errors import LayerError
from caffepy.layers.vision import arranged
from caffepy.proto.caffe_pb2 import TEST, TRAIN
from tests.layers.runner import build, check_gradient, check_manners, fill

LOWEST = np.finfo(np.float32).min

WINDOWS = {
    "kernel_size: 3 stride: 2": (3, 3, 2, 2, 0, 0),
    "kernel_size: 2 stride: 2": (2, 2, 2, 2, 0, 0),
    "kernel_size: 3 stride: 1 pad: 1": (3, 3, 1, 1, 1, 1),
    "kernel_size: 3 stride: 2 pad: 1": (3, 3, 2, 2, 1, 1),
    "kernel_size: 2 stride: 2 pad: 1": (2, 2, 2, 2, 1, 1),
    "kernel_size: 3 stride: 3 pad: 2": (3, 3, 3, 3, 2, 2),
    "kernel_size: 2 stride: 5": (2, 2, 5, 5, 0, 0),
    "kernel_size: 1 stride: 3": (1, 1, 3, 3, 0, 0),
    "kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 3 pad_h: 1 pad_w: 0": (3, 2, 2, 3, 1, 0),
    "kernel_size: 3 kernel_h: 5 stride: 2": (3, 3, 2, 2, 0, 0),
    "kernel_size: 9": (9, 9, 1, 1, 0, 0),
    "kernel_size: 5 stride: 4 round_mode: FLOOR": (5, 5, 4, 4, 0, 0),
    "kernel_h: 20 kernel_w: 13": (20, 13, 1, 1, 0, 0),
}
SHAPES = [(2, 3, 7, 8), (1, 2, 20, 13), (1, 1, 9, 9)]


def pooled(extent, kernel, stride, pad, padded, floor):
    exact = (extent + 2 * pad - kernel) / stride
    count = (math.floor(exact) if floor else math.ceil(exact)) + 1
    return count - 1 if padded and (count - 1) * stride >= extent + pad else count


def windows(text, height, width):
    """For every window, its index, its pixels' slices clipped to the image, and its area within the padded image."""
    kh, kw, sh, sw, ph, pw = WINDOWS[text]
    padded, floor = bool(ph or pw), "FLOOR" in text
    rows, columns = pooled(height, kh, sh, ph, padded, floor), pooled(width, kw, sw, pw, padded, floor)
    for i, j in np.ndindex(max(rows, 0), max(columns, 0)):
        top, left = i * sh - ph, j * sw - pw
        area = (min(top + kh, height + ph) - top) * (min(left + kw, width + pw) - left)
        yield (i, j), (slice(max(top, 0), max(top + kh, 0)), slice(max(left, 0), max(left + kw, 0))), area


def by_definition(x, diff, text, pool):
    """Top, mask, bottom diff."""
    top, mask, bottom_diff = np.zeros(diff.shape), np.full(diff.shape, -1), np.zeros(x.shape)
    for n, c in np.ndindex(x.shape[:2]):
        for (i, j), pixels, area in windows(text, *x.shape[2:]):
            seen = x[n, c][pixels]
            if pool == "AVE":
                top[n, c, i, j] = seen.sum(dtype=np.float64) / area if seen.size else 0
                bottom_diff[n, c][pixels] += diff[n, c, i, j] / area if seen.size else 0
                continue
            top[n, c, i, j] = LOWEST
            for h, w in np.ndindex(seen.shape):
                if seen[h, w] > top[n, c, i, j]:
                    top[n, c, i, j] = seen[h, w]
                    mask[n, c, i, j] = (pixels[0].start + h) * x.shape[3] + pixels[1].start + w
            if mask[n, c, i, j] >= 0:
                bottom_diff[n, c].reshape(-1)[mask[n, c, i, j]] += diff[n, c, i, j]
    return top, mask, bottom_diff


def fits(text, shape):
    return next(windows(text, *shape[2:]), None) is not None


@pytest.mark.parametrize(("text", "shape"), [(t, s) for t in WINDOWS for s in SHAPES if fits(t, s)])
@pytest.mark.parametrize("pool", ["MAX", "AVE"])
def test_it_is_its_definition(text, shape, pool):
    tops = 'top: "y" top: "mask"' if pool == "MAX" else 'top: "y"'
    case = build(f'type: "Pooling" {tops} pooling_param {{ pool: {pool} {text} }}', [shape])
    rng = np.random.default_rng(0)
    case.bottom[0].data[...] = np.round(rng.standard_normal(shape), 1)  # rounded: many ties
    case.forward()
    diff = rng.standard_normal(case.top[0].shape).astype(np.float32)
    case.top[0].diff[...] = diff
    (found,) = case.backward()
    top, mask, bottom_diff = by_definition(case.bottom[0].data, diff, text, pool)
    np.testing.assert_allclose(case.top[0].data, top, 1e-5, 1e-6)
    np.testing.assert_allclose(found, bottom_diff, 1e-5, 1e-5)
    if pool == "MAX":
        np.testing.assert_array_equal(case.top[1].data, mask)
    check_manners(case, rng)


@pytest.mark.parametrize("window", ["kernel_size: 3 stride: 2", "kernel_size: 2 stride: 5", "global_pooling: true"])
def test_nan_and_infinity(window):
    case = build(f'type: "Pooling" top: "y" top: "mask" pooling_param {{ {window} }}', [(1, 4, 5, 5)])
    data = case.bottom[0].data
    data[0, 0] = np.nan
    data[0, 1] = -np.inf
    data[0, 2] = LOWEST
    data[0, 3] = np.nan
    data[0, 3, 1, 1] = np.inf
    case.forward()
    np.testing.assert_array_equal(case.top[0].data[0, :3], LOWEST)
    np.testing.assert_array_equal(case.top[1].data[0, :3], -1)
    assert case.top[0].data[0, 3, 0, 0] == np.inf
    assert case.top[1].data[0, 3, 0, 0] == 6
    case.top[0].diff[...] = np.inf
    (diff,) = case.backward()
    assert (diff != 0).sum() == 1
    assert diff[0, 3, 1, 1] == np.inf


def test_the_first_of_equals_wins():
    case = build('type: "Pooling" pooling_param { kernel_size: 3 stride: 2 }', [(1, 1, 5, 5)])
    case.bottom[0].data[...] = 1
    case.forward()
    case.top[0].diff[...] = [[[[1, 2], [3, 4]]]]
    expected = np.zeros((5, 5))
    expected[::2, ::2][:2, :2] = [[1, 2], [3, 4]]
    np.testing.assert_array_equal(case.backward()[0][0, 0], expected)


@pytest.mark.parametrize("pool", ["MAX", "AVE"])
def test_global_pooling_follows_the_image(pool):
    case = build(f'type: "Pooling" pooling_param {{ pool: {pool} global_pooling: true }}', [(2, 3, 4, 5)])
    rng = np.random.default_rng(1)
    for shape in ((2, 3, 4, 5), (1, 2, 7, 3), (1, 1, 1, 1)):
        case.reshape(shape)
        case.bottom[0].data[...] = rng.permutation(math.prod(shape)).reshape(shape) / 10
        expected = getattr(np, {"MAX": "max", "AVE": "mean"}[pool])(case.bottom[0].data, axis=(2, 3), keepdims=True)
        np.testing.assert_allclose(case.forward()[0], expected, 1e-6)
        check_gradient(case, 0, rng, step=1e-2)
        check_manners(case, rng)


@pytest.mark.parametrize("pool", ["MAX", "AVE"])
def test_planes_in_several_parts(pool, monkeypatch):
    def run():
        case = build(
            f'type: "Pooling" pooling_param {{ pool: {pool} kernel_size: 3 stride: 2 pad: 1 }}', [(3, 5, 9, 8)]
        )
        rng = np.random.default_rng(2)
        fill(case, rng)
        top = case.forward()[0].copy()
        case.top[0].diff[...] = rng.standard_normal(top.shape)
        return top, case.backward()[0]

    whole = run()
    monkeypatch.setattr(arranged, "BLOCK", 300)
    for parts, expected in zip(run(), whole, strict=True):
        np.testing.assert_array_equal(parts, expected)


@pytest.mark.parametrize("text", ["pool: MAX", "pool: AVE", "pool: STOCHASTIC"])
def test_no_images(text):
    case = build(f'type: "Pooling" pooling_param {{ {text} kernel_size: 2 }}', [(0, 3, 4, 4)], TRAIN)
    assert case.forward()[0].shape == (0, 3, 3, 3)
    assert case.backward()[0].size == 0


def test_windows_of_more_than_255_pixels():
    case = build('type: "Pooling" top: "y" top: "mask" pooling_param { kernel_size: 20 stride: 2 }', [(1, 1, 24, 24)])
    case.bottom[0].data[0, 0, 19, 19] = 1
    case.forward()
    assert case.top[1].data[0, 0, 0, 0] == 19 * 24 + 19
    case.top[0].diff[...] = 1
    assert case.backward()[0][0, 0, 19, 19] == 9


def test_stochastic_training_draws_in_proportion():
    case = build(
        'type: "Pooling" pooling_param { pool: STOCHASTIC kernel_size: 2 stride: 2 }', [(1, 4000, 2, 2)], TRAIN
    )
    case.bottom[0].data[...] = [[0, 1], [3, 4]]
    drawn = case.forward()[0].copy()
    np.testing.assert_allclose([(drawn == v).mean() for v in (0, 1, 3, 4)], [0, 1 / 8, 3 / 8, 1 / 2], atol=0.04)
    case.top[0].diff[...] = 2
    np.testing.assert_array_equal(case.backward()[0], 2 * (case.bottom[0].data == drawn))
    assert (case.forward()[0] != drawn).any()


def test_stochastic_training_draws_from_clipped_and_empty_windows():
    case = build('type: "Pooling" pooling_param { pool: STOCHASTIC kernel_size: 3 stride: 2 }', [(1, 50, 4, 4)], TRAIN)
    case.bottom[0].data[0, :25] = np.arange(1, 17).reshape(4, 4)
    top = case.forward()[0]
    assert set(np.unique(top[0, :25, 1, 1])) <= {11, 12, 15, 16}
    assert (top[0, 25:] == 0).all()
    case.top[0].diff[...] = 1
    diff = case.backward()[0]
    np.testing.assert_array_equal(diff.sum(axis=(2, 3)), 4)


def test_stochastic_testing_is_the_mean_weighted_by_the_values():
    case = build('type: "Pooling" pooling_param { pool: STOCHASTIC kernel_size: 3 stride: 2 }', [(1, 2, 6, 5)], TEST)
    rng = np.random.default_rng(3)
    data = rng.uniform(0.5, 2, (1, 2, 6, 5)).astype(np.float32)
    case.bottom[0].data[...] = data
    top = case.forward()[0]
    seen = data[0, 1, 2:5, 2:5].astype(np.float64)
    np.testing.assert_allclose(top[0, 1, 1, 1], (seen**2).sum() / seen.sum(), 1e-6)
    seen = data[0, 0, 4:, 2:].astype(np.float64)
    np.testing.assert_allclose(top[0, 0, 2, 1], (seen**2).sum() / seen.sum(), 1e-6)
    check_gradient(case, 0, rng)
    check_manners(case, rng)
    case.bottom[0].data[...] = 0
    np.testing.assert_array_equal(case.forward()[0], 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "give kernel_size, or kernel_h and kernel_w, or global_pooling: true"),
        ("kernel_h: 3", "give kernel_size, or kernel_h and kernel_w; not both, not one of the pair"),
        ("kernel_size: 3 kernel_h: 3 kernel_w: 3", "give kernel_size, or kernel_h and kernel_w; not both"),
        ("kernel_size: 3 stride: 2 stride_h: 2", "give stride, or stride_h and stride_w; not both"),
        ("kernel_size: 3 pad_w: 1", "give pad, or pad_h and pad_w; not both, not one of the pair"),
        ("kernel_size: 0", "kernel and stride must be at least 1"),
        ("kernel_size: 3 stride: 0", "kernel and stride must be at least 1"),
        ("kernel_size: 2 pad: 2", "pad must be smaller than the kernel"),
        ("kernel_size: 9 round_mode: FLOOR", r"does not fit into the bottom, whose shape is \(1, 1, 4, 4\)"),
        ("global_pooling: true kernel_size: 3", "remove kernel_size, kernel_h and kernel_w"),
        ("global_pooling: true pad: 1", "remove pad and stride"),
        ("global_pooling: true stride_h: 2 stride_w: 2", "remove pad and stride"),
        ("pool: STOCHASTIC kernel_size: 3 pad: 1", "STOCHASTIC takes no pad"),
    ],
)
def test_wrong_parameters(text, message):
    with pytest.raises(LayerError, match=f"layer 'layer' .Pooling.: .*{message}"):
        build(f'type: "Pooling" pooling_param {{ {text} }}', [(1, 1, 4, 4)])


def test_wrong_tops_and_bottoms():
    with pytest.raises(LayerError, match="only pool: MAX has places for a second top 'm'"):
        build('type: "Pooling" top: "y" top: "m" pooling_param { pool: AVE kernel_size: 2 }', [(1, 1, 4, 4)])
    with pytest.raises(LayerError, match=r"bottom 'bottom0' must have 4 axes, got shape \(1, 4, 4\)"):
        build('type: "Pooling" pooling_param { kernel_size: 2 }', [(1, 4, 4)])
