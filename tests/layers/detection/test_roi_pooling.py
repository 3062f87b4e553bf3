"""ROIPooling and PSROIPooling, bin by bin from their definitions."""

import math

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.gpu_mode import REAL, running
from tests.layers.runner import build, check_gradient, check_manners


def away(value):
    return math.floor(abs(value) + 0.5) * (1 if value >= 0 else -1)


def clipped(first, last, extent):
    return range(min(max(math.floor(first), 0), extent), min(max(math.ceil(last), 0), extent))


def roi_pool(x, regions, rows, columns, scale):
    top = np.zeros((len(regions), x.shape[1], rows, columns))
    for r, c, i, j in np.ndindex(top.shape):
        item, x1, y1, x2, y2 = regions[r]
        x1, y1, x2, y2 = (away(v * scale) for v in (x1, y1, x2, y2))
        high, wide = max(y2 - y1 + 1, 1) / rows, max(x2 - x1 + 1, 1) / columns
        ys = clipped(y1 + i * high, y1 + (i + 1) * high, x.shape[2])
        xs = clipped(x1 + j * wide, x1 + (j + 1) * wide, x.shape[3])
        top[r, c, i, j] = max((x[int(item), c, y, k] for y in ys for k in xs), default=0)
    return top


def psroi_pool(x, regions, dim, group, scale):
    top = np.zeros((len(regions), dim, group, group))
    for r, d, i, j in np.ndindex(top.shape):
        item, x1, y1, x2, y2 = regions[r]
        x1, y1, x2, y2 = away(x1) * scale, away(y1) * scale, (away(x2) + 1) * scale, (away(y2) + 1) * scale
        high, wide = max(y2 - y1, 0.1) / group, max(x2 - x1, 0.1) / group
        ys = clipped(y1 + i * high, y1 + (i + 1) * high, x.shape[2])
        xs = clipped(x1 + j * wide, x1 + (j + 1) * wide, x.shape[3])
        values = [x[int(item), (d * group + i) * group + j, y, k] for y in ys for k in xs]
        top[r, d, i, j] = sum(values) / len(values) if values else 0
    return top


REGIONS = [
    [0, 0, 0, 31, 23],
    [1, 8.5, 4, 20, 12],
    [1, 5, 5, 5, 5],
    [0, -10, 3, 12, 60],
    [1, 30, 20, 2, 1],
    [0, 200, 200, 300, 300],
]
ROI = 'type: "ROIPooling" roi_pooling_param { pooled_h: 3 pooled_w: 2 spatial_scale: 0.25 }'
PSROI = 'type: "PSROIPooling" psroi_pooling_param { output_dim: 2 group_size: 3 spatial_scale: 0.25 }'


@pytest.mark.parametrize("regions", [(6, 5), (6, 5, 1, 1)])
def test_roi_pooling(regions):
    case = build(ROI, [(2, 3, 6, 8), regions])
    rng = np.random.default_rng(0)
    x = rng.permutation(288).reshape(2, 3, 6, 8) / 10  # no two are close, so that no maximum changes hands
    case.bottom[0].data[...], case.bottom[1].data[...] = x, np.reshape(REGIONS, regions)
    expected = roi_pool(case.bottom[0].data, REGIONS, 3, 2, 0.25)
    np.testing.assert_array_equal(case.forward()[0], expected.astype(np.float32))
    check_gradient(case, 0, rng)
    check_manners(case, rng)


@pytest.mark.parametrize("mode", ["cpu", "gpu-random", REAL])
def test_regions_may_be_padded(mode):
    with running(mode):
        case = build(ROI.replace("scale: 0.25", "scale: 0.25 pad_ratio: 0.5"), [(2, 3, 6, 8), (6, 5)])
        rng = np.random.default_rng(0)
        case.bottom[0].data[...] = rng.permutation(288).reshape(2, 3, 6, 8) / 10
        case.bottom[1].data[...] = REGIONS
        wider = [
            [i, x - (u - x + 1) / 2, y - (v - y + 1) / 2, u + (u - x + 1) / 2, v + (v - y + 1) / 2]
            for i, x, y, u, v in REGIONS
        ]
        expected = roi_pool(case.bottom[0].data, wider, 3, 2, 0.25)
        np.testing.assert_array_equal(case.forward()[0], expected.astype(np.float32))
        check_gradient(case, 0, rng)


@pytest.mark.parametrize("mode", ["cpu", "gpu-random"])
@pytest.mark.parametrize(("text", "channels"), [(ROI, 3), (PSROI, 18)])
def test_a_region_that_is_no_number_is_empty(mode, text, channels):
    with running(mode):
        case = build(text, [(2, channels, 6, 8), (3, 5)])
        case.bottom[0].data[...] = 1
        case.bottom[1].data[...] = [[0, 4, np.nan, 8, np.nan], [0, np.nan, 4, np.nan, 8], [1, 0, 0, 8, 8]]
        (top,) = case.forward()
        assert not top[:2].any()
        assert (top[2] == 1).all()
        case.top[0].diff[...] = 1
        assert not case.backward()[0][0].any()


def test_psroi_pooling():
    case = build(PSROI, [(2, 18, 6, 8), (6, 5)])
    rng = np.random.default_rng(0)
    case.bottom[0].data[...], case.bottom[1].data[...] = rng.standard_normal((2, 18, 6, 8)), REGIONS
    expected = psroi_pool(case.bottom[0].data, REGIONS, 2, 3, 0.25)
    np.testing.assert_allclose(case.forward()[0], expected, 1e-5, 1e-6)
    check_gradient(case, 0, rng)
    check_manners(case, rng)


@pytest.mark.parametrize("item", [-1, 2, np.nan])
@pytest.mark.parametrize(("text", "channels"), [(ROI, 3), (PSROI, 18)])
def test_an_item_that_is_not_there(text, channels, item):
    case = build(text, [(2, channels, 6, 8), (2, 5)])
    case.bottom[0].data[...], case.bottom[1].data[...] = 1, [[0, 0, 0, 9, 9], [item, 0, 0, 9, 9]]
    with pytest.raises(LayerError, match=rf"region 1 of bottom 'bottom1' is of item {item:g}, but .* items 0 to 1"):
        case.forward()
    assert not case.top[0].data[1].any()
    case.top[0].diff[...] = 1
    assert np.isfinite(case.backward()[0]).all()


@pytest.mark.parametrize(
    ("text", "shapes", "says"),
    [
        ('type: "ROIPooling"', [(1, 2, 3, 4), (1, 5)], "pooled_h: 0 and pooled_w: 0 must be at least 1"),
        (ROI, [(1, 2, 3), (1, 5)], "bottom 'bottom0' must have 4 axes"),
        (ROI, [(1, 2, 3, 4), (1, 4)], "bottom 1 must have 5 numbers for each region"),
        ('type: "PSROIPooling"', [(1, 2, 3, 4), (1, 5)], "give output_dim, group_size and spatial_scale, got 0, 0, 0"),
        (ROI, [(0, 12, 3, 4), (1, 5)], r"1 regions of nothing: bottom 'bottom0' has shape \(0, 12, 3, 4\)"),
        (ROI, [(1, 12, 3, 0), (1, 5)], r"1 regions of nothing: bottom 'bottom0' has shape \(1, 12, 3, 0\)"),
        (PSROI, [(1, 12, 3, 4), (1, 5)], "must have output_dim . group_size.2 channels, 18"),
    ],
)
def test_errors(text, shapes, says):
    with pytest.raises(LayerError, match=says):
        build(text, shapes)
