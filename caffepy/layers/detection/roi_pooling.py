"""ROIPooling and PSROIPooling: each region of interest pooled into a grid of bins."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from caffepy.blob import Arrays, Floats, Ints, Shape
from caffepy.kernels import kernel
from caffepy.layer import Layer, State, register

Box = tuple[int, int, int, int]
"""Rows from the first up to the second, columns from the third up to the fourth."""


class Regions(Layer):
    """features (n, c, h, w), regions (r, 5) of item, x1, y1, x2, y2 in pixels of the image, or (r, 5, 1, 1)."""

    reads = ("bottom",)
    verifies = True
    row_bottoms = (1,)

    def settle(self, bottom_shapes: Sequence[Shape]) -> None:
        """Check the shapes, settle the sizes."""
        self.items, self.channels, self.height, self.width = self.expect_axes(bottom_shapes, 0, 4)
        regions = bottom_shapes[1]
        if len(regions) < 2 or math.prod(regions[1:]) != 5:
            raise self.error(f"bottom 1 must have 5 numbers for each region, item, x1, y1, x2, y2, got shape {regions}")
        self.regions = regions[0]
        if self.regions and not self.items * self.height * self.width:
            raise self.error(
                f"there are {self.regions} regions of nothing: bottom {self.param.bottom[0]!r} has shape "
                f"{bottom_shapes[0]}"
            )
        self.wrong: State = self.state("wrong", (1,), np.int32)
        self.item: State = self.state("item", (1,))

    def check(self, regions: Floats) -> None:
        """Look for the first region of an item that is not there; `verify` raises for it, its bins are zeros."""
        roi_check(regions, self.regions, self.items, self.wrong.array, self.item.array)

    def verify(self) -> None:
        region = int(self.wrong.host[0])
        if region >= 0:
            raise self.error(
                f"region {region} of bottom {self.param.bottom[1]!r} is of item {self.item.host[0]:g}, but bottom "
                f"{self.param.bottom[0]!r} has the items 0 to {self.items - 1}"
            )

    def differentiable(self, bottom_index: int) -> bool:
        return bottom_index == 0


@register("ROIPooling", bottoms=2, tops=1)
class ROIPooling(Regions):
    """features (n, c, h, w), regions (r, 5) -> (r, c, pooled_h, pooled_w): the maximum of each bin (Girshick 2015).

    A region is item, x1, y1, x2, y2 in the image, times spatial_scale, rounded, in the features. Bin i of the rows has
    the rows floor(i * b) to ceil((i + 1) * b) from the region's first, b = rows / pooled_h, and so the columns, inside
    the features; an empty bin gives 0. pad_ratio (MS-CNN) first moves each side out by that share of the region's size.
    """

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.roi_pooling_param
        if not p.pooled_h or not p.pooled_w:
            raise self.error(f"pooled_h: {p.pooled_h} and pooled_w: {p.pooled_w} must be at least 1")
        self.pooled, self.scale, self.pad_ratio = (p.pooled_h, p.pooled_w), p.spatial_scale, p.pad_ratio

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        self.settle(bottom_shapes)
        top = self.regions, self.channels, *self.pooled
        self.mask: State = self.state("mask", top, np.int32)
        if self.pad_ratio:
            self.padded: State = self.state("padded", (self.regions, 5))
        return [top]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        features, regions = bottom[0].data, bottom[1].data
        self.check(regions)
        if self.pad_ratio:
            roi_pad(regions, self.pad_ratio, self.padded.array)
            regions = self.padded.array
        sizes = self.items, self.channels, self.height, self.width, *self.pooled
        roi_pool_forward(features, regions, *sizes, self.scale, self.mask.array, top[0].data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if propagate_down[0]:
            sizes = self.items, self.channels, self.height, self.width, *self.pooled, self.regions
            regions, mask = self.padded.array if self.pad_ratio else bottom[1].data, self.mask.array
            roi_pool_backward(top[0].diff, regions, mask, *sizes, self.scale, bottom[0].diff)


@register("PSROIPooling", bottoms=2, tops=1)
class PSROIPooling(Regions):
    """features (n, output_dim * g^2, h, w), regions (r, 5) -> (r, output_dim, g, g), g = group_size (Dai et al. 2016).

    top[r, d, i, j] is the mean of channel (d * g + i) * g + j over bin (i, j). A region is item, x1, y1, x2, y2; it
    begins at its rounded x1, y1 and ends at its rounded x2 + 1, y2 + 1, times spatial_scale, and is at least 0.1 large.
    Bin i has the rows floor(i * b + begin) to ceil((i + 1) * b + begin), b its height / g; an empty bin gives 0.
    """

    reads = ("bottom",)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.psroi_pooling_param
        if p.output_dim < 1 or p.group_size < 1 or p.spatial_scale <= 0:
            raise self.error(
                f"give output_dim, group_size and spatial_scale, got {p.output_dim}, {p.group_size}, {p.spatial_scale}"
            )
        self.output_dim, self.group, self.scale = p.output_dim, p.group_size, p.spatial_scale

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        self.settle(bottom_shapes)
        if self.channels != self.output_dim * self.group**2:
            raise self.error(
                f"bottom shape {bottom_shapes[0]} must have output_dim * group_size^2 channels, "
                f"{self.output_dim * self.group**2}"
            )
        return [(self.regions, self.output_dim, self.group, self.group)]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        features, regions = bottom[0].data, bottom[1].data
        self.check(regions)
        sizes = self.items, self.output_dim, self.group, self.height, self.width
        psroi_pool_forward(features, regions, *sizes, self.scale, top[0].data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if propagate_down[0]:
            sizes = self.items, self.output_dim, self.group, self.height, self.width, self.regions
            psroi_pool_backward(top[0].diff, bottom[1].data, *sizes, self.scale, bottom[0].diff)


@kernel("roi_pooling.cu", per="wrong")
def roi_check(region_data: Floats, regions: int, items: int, wrong: Ints, item: Floats) -> None:
    """wrong[0] = the first region whose item is none of the `items`, item[0] that item; -1 if there is none"""
    given = region_data.reshape(regions, 5)[:, 0]
    bad = ~((given > -1) & (given < items))
    wrong[0] = bad.argmax() if bad.any() else -1
    item[0] = given[wrong[0]] if bad.any() else 0


@kernel("roi_pooling.cu", per="padded")
def roi_pad(region_data: Floats, ratio: float, padded: Floats) -> None:
    """padded = region_data, but each side out by ratio * (x2 - x1 + 1), or of y"""
    given = region_data.reshape(-1, 5)
    out = np.float32(ratio) * (given[:, 3:] - given[:, 1:3] + 1)
    padded[:, 0] = given[:, 0]
    np.subtract(given[:, 1:3], out, out=padded[:, 1:3])
    np.add(given[:, 3:], out, out=padded[:, 3:])


@kernel("roi_pooling.cu", per="top_data")
def roi_pool_forward(
    bottom_data: Floats,
    region_data: Floats,
    items: int,
    channels: int,
    height: int,
    width: int,
    pooled_h: int,
    pooled_w: int,
    scale: float,
    mask: Ints,
    top_data: Floats,
) -> None:
    """top[r, c, i, j] = the maximum of bin (i, j) of region r, mask its place h * width + w; 0 and -1 if empty"""
    features = bottom_data.reshape(items, channels, height, width)
    top_data[...], mask[...] = 0, -1
    grid = height, width, pooled_h, pooled_w
    for r, item, i, j, (top, below, left, right) in _bins(region_data, items, _rounded, scale, grid):
        seen = features[item, :, top:below, left:right].reshape(channels, -1)
        best = seen.argmax(axis=1)
        top_data[r, :, i, j] = seen[np.arange(channels), best]
        rows, columns = np.divmod(best, right - left)
        mask[r, :, i, j] = (top + rows) * width + left + columns


@kernel("roi_pooling.cu", per="bottom_diff")
def roi_pool_backward(
    top_diff: Floats,
    region_data: Floats,
    mask: Ints,
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
    """bottom_diff[n, c, h, w] = sum of the top_diff of the bins of item n's regions whose mask is h * width + w"""
    bottom_diff[...] = 0
    diff = bottom_diff.reshape(items, channels, height * width)
    for r, given in enumerate(region_data.reshape(regions, 5)[:, 0]):
        if -1 < given < items:
            channel, i, j = np.nonzero(mask[r] >= 0)
            np.add.at(diff[int(given)], (channel, mask[r, channel, i, j]), top_diff[r, channel, i, j])


@kernel("psroi_pooling.cu", per="top_data")
def psroi_pool_forward(
    bottom_data: Floats,
    region_data: Floats,
    items: int,
    output_dim: int,
    group: int,
    height: int,
    width: int,
    scale: float,
    top_data: Floats,
) -> None:
    """top[r, d, i, j] = the mean of channel (d * group + i) * group + j over bin (i, j) of region r; 0 if empty"""
    features = bottom_data.reshape(items, output_dim, group, group, height, width)
    top_data[...] = 0
    grid = height, width, group, group
    for r, item, i, j, (top, below, left, right) in _bins(region_data, items, _widened, scale, grid):
        top_data[r, :, i, j] = features[item, :, i, j, top:below, left:right].mean(axis=(1, 2))


@kernel("psroi_pooling.cu", per="bottom_diff")
def psroi_pool_backward(
    top_diff: Floats,
    region_data: Floats,
    items: int,
    output_dim: int,
    group: int,
    height: int,
    width: int,
    regions: int,
    scale: float,
    bottom_diff: Floats,
) -> None:
    """bottom_diff = the sum of top_diff / area of every bin here, of this item and channel"""
    bottom_diff[...] = 0
    diff = bottom_diff.reshape(items, output_dim, group, group, height, width)
    grid = height, width, group, group
    for r, item, i, j, (top, below, left, right) in _bins(region_data, items, _widened, scale, grid):
        share = top_diff[r, :, i, j] / np.float32((below - top) * (right - left))
        diff[item, :, i, j, top:below, left:right] += share[:, None, None]


class _Line(NamedTuple):
    """A region's bins along one axis: from whole + floor(i * size + begin) to whole + ceil((i + 1) * size + begin)."""

    whole: np.float32
    begin: np.float32
    size: np.float32

    def bin(self, i: int, extent: int) -> tuple[int, int]:
        """Bin i, inside the features; empty for a region that is no number."""
        first = np.floor(np.float32(i) * self.size + self.begin) + self.whole
        last = np.ceil(np.float32(i + 1) * self.size + self.begin) + self.whole
        return int(np.fmin(np.fmax(first, 0), extent)), int(np.fmin(np.fmax(last, 0), extent))


Ends = Callable[[np.float32, np.float32, np.float32, int], _Line]


def _rounded(first: np.float32, last: np.float32, scale: np.float32, bins: int) -> _Line:
    """ROIPooling's: both ends rounded in the features."""
    begin, end = _round(first * scale), _round(last * scale)
    return _Line(begin, np.float32(0), np.maximum(end - begin + np.float32(1), np.float32(1)) / np.float32(bins))


def _widened(first: np.float32, last: np.float32, scale: np.float32, bins: int) -> _Line:
    """PSROIPooling's: both ends rounded in the image."""
    begin, end = _round(first) * scale, (_round(last) + np.float32(1)) * scale
    return _Line(np.float32(0), begin, np.maximum(end - begin, np.float32(0.1)) / np.float32(bins))


def _round(value: np.float32) -> np.float32:
    """C's round: halves go away from zero."""
    rounded: np.float32 = np.copysign(np.floor(np.abs(value) + np.float32(0.5)), value)
    return rounded


def _bins(
    region_data: Floats, items: int, ends: Ends, scale: float, grid: tuple[int, int, int, int]
) -> Iterator[tuple[int, int, int, int, Box]]:
    """(region, its item, i, j, where in the features) for each bin that is not empty."""
    height, width, rows, columns = grid
    for r, (item, x1, y1, x2, y2) in enumerate(region_data.reshape(-1, 5)):
        if not -1 < item < items:
            continue
        down, across = ends(y1, y2, np.float32(scale), rows), ends(x1, x2, np.float32(scale), columns)
        for i in range(rows):
            for j in range(columns):
                top, below, left, right = *down.bin(i, height), *across.bin(j, width)
                if top < below and left < right:
                    yield r, int(item), i, j, (top, below, left, right)
