"""ROIWarping: regions of interest resampled into a grid of bins, with a derivative by the regions, too."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import State, register
from caffepy.layers.detection.roi_pooling import Regions

FARTHEST = 65536
"""Regions that reach further from the first feature have no samples: they would take for ever to step through."""


@register("ROIWarping", bottoms=2, tops=1)
class ROIWarping(Regions):
    """features (n, c, h, w), regions (r, 5) -> (r, c, pooled_h, pooled_w): the maximum of samples in each bin.

    A region is item, x1, y1, x2, y2 in the image, times spatial_scale, rounded, in the features. Bin i of the rows lies
    between y1 + i * b and y1 + (i + 1) * b, b = (y2 - y1) / pooled_h; with k = ceil(b) it is sampled, bilinearly, every
    1 / k of it, both ends included, and so the columns. Samples half a place outside count as the border's, those
    further off not at all; a bin without samples gives 0, and so do regions
    that reach over 65536 places (Dai et al. 2016, MNC: roi_warping_layer.cu).

    Both bottoms have a derivative. A region's is, as there, that by x and y of its middle, its width and its height, at
    the features' scale, in the places of x1, y1, x2 and y2.
    """

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.roi_warping_param
        if not p.pooled_h or not p.pooled_w:
            raise self.error(f"pooled_h: {p.pooled_h} and pooled_w: {p.pooled_w} must be at least 1")
        self.pooled, self.scale = (p.pooled_h, p.pooled_w), p.spatial_scale

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        self.settle(bottom_shapes)
        top = self.regions, self.channels, *self.pooled
        self.place: State = self.state("place", (*top, 2))
        return [top]

    def differentiable(self, bottom_index: int) -> bool:
        return True

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        features, regions = bottom[0].data, bottom[1].data
        self.check(regions)
        sizes = self.items, self.channels, self.height, self.width, *self.pooled
        roi_warp_forward(features, regions, *sizes, self.scale, self.place.array, top[0].data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        features, regions, place = bottom[0].data, bottom[1].data, self.place.array
        sizes = self.items, self.channels, self.height, self.width, *self.pooled
        if propagate_down[0]:
            roi_warp_backward(top[0].diff, regions, place, *sizes, self.regions, self.scale, bottom[0].diff)
        if propagate_down[1]:
            roi_warp_backward_regions(features, top[0].diff, regions, place, *sizes, self.scale, bottom[1].diff)


class _Corners(NamedTuple):
    """The four values that samples lie between: rows above and below, columns left and right, and how far between."""

    above: NDArray[np.intp]
    below: NDArray[np.intp]
    left: NDArray[np.intp]
    right: NDArray[np.intp]
    down: Floats
    along: Floats


def _edges(first: np.float32, last: np.float32, scale: float) -> tuple[np.float32, np.float32]:
    """Where a region begins and ends in the features."""
    begin, end = (np.float32(v) * np.float32(scale) for v in (first, last))
    return np.float32(np.copysign(np.floor(abs(begin) + np.float32(0.5)), begin)), np.float32(
        np.copysign(np.floor(abs(end) + np.float32(0.5)), end)
    )


def _samples(first: np.float32, last: np.float32, scale: float, bins: int) -> tuple[Floats, list[int]]:
    """Where a region is sampled along one axis, and with which sample each bin begins; bins + 1 of those."""
    begin, end = _edges(first, last, scale)
    extent = max(end - begin, np.float32(0))
    size = extent / np.float32(bins)
    step = np.float32(1) / np.float32(np.ceil(size)) if size > 0 else np.float32(np.inf)
    places: list[np.float32] = []
    starts = [0]
    for i in range(bins):
        at = np.float32(i)
        while at <= i + 1:  # added up in float32, so that the last sample may be lost, as in MNC
            places.append(begin + at * size)
            at = np.float32(at + step)
        starts.append(len(places))
    return np.array(places, np.float32), starts


def _between(places: Floats, extent: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """The place before, the one behind, and how far a place is from the one before."""
    inside = np.clip(places, np.float32(0), np.float32(extent - 1))
    before = inside.astype(np.intp)
    return before, np.minimum(before + 1, extent - 1), inside - before.astype(np.float32)


def _each(region_data: Floats, items: int, scale: float) -> Iterator[tuple[int, int, Floats]]:
    """Region, its item, and its four numbers, of those whose item is there and which are not beyond all features."""
    for r, region in enumerate(region_data.reshape(-1, 5)):
        if -1 < region[0] < items and (np.abs(region[1:] * np.float32(scale)) <= FARTHEST).all():
            yield r, int(region[0]), region[1:]


@kernel("roi_warping.cu", per="top_data")
def roi_warp_forward(
    bottom_data: Floats,
    region_data: Floats,
    items: int,
    channels: int,
    height: int,
    width: int,
    pooled_h: int,
    pooled_w: int,
    scale: float,
    place: Floats,
    top_data: Floats,
) -> None:
    """top[r, c, i, j] = the greatest sample of bin (i, j) of region r, place its row and column; 0 and -1 if none"""
    place[...], top_data[...] = -1, 0
    for r, item, (x1, y1, x2, y2) in _each(region_data, items, scale):
        rows, row_starts = _samples(y1, y2, scale, pooled_h)
        columns, column_starts = _samples(x1, x2, scale, pooled_w)
        above, below, down = _between(rows, height)
        left, right, along = _between(columns, width)
        image = bottom_data.reshape(items, channels, height, width)[item]
        upper, lower = image[:, above], image[:, below]
        down, one = down[:, None], np.float32(1)
        values = (one - down) * (one - along) * upper[:, :, left] + (one - down) * along * upper[:, :, right]
        values += down * (one - along) * lower[:, :, left]
        values += down * along * lower[:, :, right]
        seen = [(p >= -0.5) & (p <= extent - 0.5) for p, extent in ((rows, height), (columns, width))]
        values[:, ~seen[0]] = -np.inf
        values[:, :, ~seen[1]] = -np.inf
        held = [np.clip(p, 0, extent - 1) for p, extent in ((rows, height), (columns, width))]
        for i, j in np.ndindex(pooled_h, pooled_w):
            part = values[:, row_starts[i] : row_starts[i + 1], column_starts[j] : column_starts[j + 1]]
            flat = part.reshape(channels, -1)
            best = flat.argmax(axis=1)
            value = flat[np.arange(channels), best]
            there = value > -np.inf
            row, column = np.divmod(best, part.shape[2])
            top_data[r, there, i, j] = value[there]
            place[r, there, i, j, 0] = held[0][row_starts[i] + row][there]
            place[r, there, i, j, 1] = held[1][column_starts[j] + column][there]


def _corners(places: Floats, height: int, width: int) -> _Corners:
    above, below, down = _between(places[..., 0], height)
    left, right, along = _between(places[..., 1], width)
    return _Corners(above, below, left, right, down, along)


@kernel("roi_warping.cu", per="bottom_diff")
def roi_warp_backward(
    top_diff: Floats,
    region_data: Floats,
    place: Floats,
    items: int,
    channels: int,
    height: int,
    width: int,
    pooled_h: int,
    pooled_w: int,
    regions: int,
    scale: float,
    bottom_diff: Floats,
) -> None:
    """bottom_diff[n, c, h, w] = sum over the bins of item n's regions of top_diff * the part of (h, w) in the sample"""
    bottom_diff[...] = 0
    diff = bottom_diff.reshape(items, channels, height * width)
    plane = np.arange(channels)[:, None, None]
    for r, item, _ in _each(region_data, items, scale):
        there = place[r, ..., 0] >= 0
        c = _corners(place[r], height, width)
        one, weighted = np.float32(1), np.where(there, top_diff[r], np.float32(0))
        for rows, columns, part in (
            (c.above, c.left, (one - c.down) * (one - c.along)),
            (c.above, c.right, (one - c.down) * c.along),
            (c.below, c.left, c.down * (one - c.along)),
            (c.below, c.right, c.down * c.along),
        ):
            np.add.at(diff[item], (plane, rows * width + columns), part * weighted)


@kernel("roi_warping.cu", rows="region_diff", threads=256)
def roi_warp_backward_regions(
    bottom_data: Floats,
    top_diff: Floats,
    region_data: Floats,
    place: Floats,
    items: int,
    channels: int,
    height: int,
    width: int,
    pooled_h: int,
    pooled_w: int,
    scale: float,
    region_diff: Floats,
) -> None:
    """region_diff[r] = 0, and the sums over channels and bins of top_diff * the slope along x, along y, that along x
    times x's place in the region from -1/2 to 1/2, and that along y likewise; none at the last row or column"""
    diff = region_diff.reshape(-1, 5)
    diff[...] = 0
    plane = np.arange(channels)[:, None, None]
    for r, item, (x1, y1, x2, y2) in _each(region_data, items, scale):
        image = bottom_data.reshape(items, channels, height, width)[item]
        y, x = place[r, ..., 0], place[r, ..., 1]
        counted = (y >= 0) & (y < height - 1) & (x < width - 1)
        c = _corners(place[r], height, width)
        values = [[image[plane, row, column] for column in (c.left, c.right)] for row in (c.above, c.below)]
        (a, b), (d, e) = values
        weight = np.where(counted, top_diff[r], np.float32(0))
        slope_x = weight * ((1 - c.down) * (b - a) + c.down * (e - d))
        slope_y = weight * ((1 - c.along) * (d - a) + c.along * (e - b))
        (left, right), (top, bottom) = _edges(x1, x2, scale), _edges(y1, y2, scale)
        across = (x - left) / max(right - left + 1, np.float32(1)) - np.float32(0.5)
        deep = (y - top) / max(bottom - top + 1, np.float32(1)) - np.float32(0.5)
        diff[r, 1:] = slope_x.sum(), slope_y.sum(), (slope_x * across).sum(), (slope_y * deep).sum()
