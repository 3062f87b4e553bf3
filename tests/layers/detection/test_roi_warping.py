"""ROIWarping, sample by sample from its definition."""

import math

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.gpu_mode import REAL, running
from tests.layers.runner import build, check_gradient, check_manners

SIZE = (2, 3, 6, 8)
REGIONS = [
    [0, 0, 0, 28, 20],
    [1, 8.5, 4, 20, 12],
    [1, 6, 6, 6, 6],
    [0, -10, 3, 12, 60],
    [1, 30, 20, 2, 1],
    [0, 200, 200, 300, 300],
]
TEXT = 'type: "ROIWarping" roi_warping_param { pooled_h: 3 pooled_w: 2 spatial_scale: 0.25 }'


def away(value):
    return math.floor(abs(value) + 0.5) * (1 if value >= 0 else -1)


def sample(plane, y, x):
    """The value at a place, None where it is more than half a place outside."""
    if not (-0.5 <= y <= plane.shape[0] - 0.5 and -0.5 <= x <= plane.shape[1] - 0.5):
        return None
    y, x = min(max(y, 0), plane.shape[0] - 1), min(max(x, 0), plane.shape[1] - 1)
    total = 0
    for row, column in np.ndindex(plane.shape):
        total += max(0, 1 - abs(row - y)) * max(0, 1 - abs(column - x)) * plane[row, column]
    return total


def steps(begin, end, bins, i):
    """Places of bin i."""
    size = max(end - begin, 0) / bins
    count = math.ceil(size)
    return [begin + (i + k / count) * size for k in range(count + 1)] if count else [begin + i * size]


def roi_warp(x, regions, rows, columns, scale):
    top = np.zeros((len(regions), x.shape[1], rows, columns))
    for r, c, i, j in np.ndindex(top.shape):
        item = int(regions[r][0])
        x1, y1, x2, y2 = (away(v * scale) for v in regions[r][1:])
        values = [sample(x[item, c], y, at) for y in steps(y1, y2, rows, i) for at in steps(x1, x2, columns, j)]
        top[r, c, i, j] = max((v for v in values if v is not None), default=0)
    return top


def make(regions=REGIONS):
    case = build(TEXT, [SIZE, (len(regions), 5)])
    rng = np.random.default_rng(0)
    case.bottom[0].data[...] = rng.permutation(math.prod(SIZE)).reshape(SIZE) / 10
    case.bottom[1].data[...] = regions
    return case, rng


@pytest.mark.parametrize("mode", ["cpu", "gpu-random", REAL])
def test_forward_and_the_features_derivative(mode):
    with running(mode):
        case, rng = make()
        (top,) = case.forward()
        np.testing.assert_allclose(top, roi_warp(case.bottom[0].data, REGIONS, 3, 2, 0.25), 1e-4, 1e-4)
        check_gradient(case, 0, rng, step=1e-3, tolerance=2e-2)


@pytest.mark.parametrize("mode", ["cpu", "gpu-random", REAL])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e30, 300_000])
def test_regions_beyond_all_features_have_no_samples(mode, wrong):
    with running(mode):
        case, _ = make([[0, 0, wrong, 28, 20], [0, 0, 0, wrong, 20], [1, 8.5, 4, 20, 12]])
        (top,) = case.forward()
        assert not top[:2].any()
        assert top[2].all()
        case.top[0].diff[...] = 1
        features, regions = case.backward()
        assert not features[0].any()
        assert not regions[:2].any()


@pytest.mark.parametrize("mode", ["cpu", "gpu-random", REAL])
def test_the_regions_derivative(mode):
    """Where one sample is taken of each bin, by moving and stretching the places that are sampled."""
    regions = [[1, 8, 4, 24, 16], [0, 4, 0, 16, 12]]
    with running(mode):
        case, rng = make(regions)
        case.forward()
        places = case.layer.place.host.copy()
        case.top[0].diff[...] = noise = rng.standard_normal(case.top[0].shape).astype(np.float32)
        found = case.backward()[1]
    x = case.bottom[0].data.astype(np.float64)
    for r, region in enumerate(regions):
        x1, y1, x2, y2 = (away(v * 0.25) for v in region[1:])
        expected = np.zeros(4)
        for c, i, j in np.ndindex(3, 3, 2):
            y, at = places[r, c, i, j].astype(np.float64)
            if y >= SIZE[2] - 1 or at >= SIZE[3] - 1:
                continue
            plane, step = x[int(region[0]), c], 1e-4
            slope_x = (sample(plane, y, at + step) - sample(plane, y, at)) / step  # to the right and down, at kinks
            slope_y = (sample(plane, y + step, at) - sample(plane, y, at)) / step
            across, deep = (at - x1) / (x2 - x1 + 1) - 0.5, (y - y1) / (y2 - y1 + 1) - 0.5
            expected += noise[r, c, i, j] * np.array([slope_x, slope_y, slope_x * across, slope_y * deep])
        assert found[r, 0] == 0
        np.testing.assert_allclose(found[r, 1:], expected, 1e-3, 1e-2)


def test_manners():
    case, rng = make()
    check_manners(case, rng)
    assert [case.layer.differentiable(i) for i in range(2)] == [True, True]


def test_errors():
    with pytest.raises(LayerError, match="pooled_h: 0 and pooled_w: 2 must be at least 1"):
        build(TEXT.replace("pooled_h: 3", "pooled_h: 0"), [SIZE, (1, 5)])
    case, _ = make()
    case.bottom[1].data[2, 0] = 2
    with pytest.raises(LayerError, match="region 2 of bottom 'bottom1' is of item 2"):
        case.forward()
