"""Pooling: the maximum, the mean or a sample of each window of an image."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import Layer, State, register
from caffepy.layers import global_pooling as whole
from caffepy.layers import stochastic_pooling as stochastic
from caffepy.layers.arranged import Shifts, cut, shifts_of
from caffepy.layers.global_pooling import LOWEST
from caffepy.layers.window import PoolingWindow
from caffepy.proto.caffe_pb2 import TRAIN, PoolingParameter
from caffepy.rng import generator


@register("Pooling", bottoms=1, tops=(1, 2))
class Pooling(Layer):
    """bottom (n, c, h, w) -> top (n, c, ph, pw); for MAX a second top of that shape has each maximum's place,
    h * width + w, as a float.

    MAX: the greatest value of the window; AVE: the sum over the window divided by its area, padding counted as far as
    height + pad and width + pad (Caffe: pooling_layer.cpp). A window wholly outside gives -FLT_MAX, or 0.
    STOCHASTIC: TRAIN draws a value in proportion to its size, TEST gives the mean weighted by the values.
    """

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.pooling_param
        self.pool, self.round_up = p.pool, p.round_mode == PoolingParameter.CEIL
        self.reads = () if p.pool == PoolingParameter.AVE or self._draws else ("bottom",)
        if len(self.param.top) > 1 and p.pool != PoolingParameter.MAX:
            raise self.error(f"only pool: MAX has places for a second top {self.param.top[1]!r}; remove that top")
        self.window = None
        if not p.global_pooling:
            self.window = PoolingWindow.read(p, self.error)
        elif p.HasField("kernel_size") or p.HasField("kernel_h") or p.HasField("kernel_w"):
            raise self.error("global_pooling: true takes the whole image; remove kernel_size, kernel_h and kernel_w")
        elif {p.pad, p.pad_h, p.pad_w} != {0} or p.stride != 1 or not {p.stride_h, p.stride_w} <= {0, 1}:
            raise self.error("global_pooling: true takes the whole image; remove pad and stride")

    @property
    def _draws(self) -> bool:
        return self.param.pooling_param.pool == PoolingParameter.STOCHASTIC and self.phase == TRAIN

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        num, channels, height, width = self.expect_axes(bottom_shapes, 0, 4)
        window = self.current = self.window or PoolingWindow(height, width)
        pooled = window.pooled(height, width, round_up=self.round_up)
        if min(pooled) < 1:
            raise self.error(f"the window {window} does not fit into the bottom, whose shape is {bottom_shapes[0]}")
        self.extent = height, width, *pooled
        self.whole = pooled == (1, 1) and not window.pad_h + window.pad_w
        self.whole = self.whole and window.kernel_h >= height and window.kernel_w >= width
        top_shape = (num, channels, *pooled)
        if self._draws:
            self.mask: State = self.state("mask", top_shape, np.int32)
        shifts = shifts_of(*self.extent, window)
        planes = shifts.together(num * channels)
        self.reserve_workspace(shifts.arranged_count(planes) + planes * shifts.size)
        return [top_shape] * len(self.param.top)

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        data, extent, window = bottom[0].data, self.extent, self.current
        inner = extent[0] * extent[1]
        if self.pool == PoolingParameter.MAX:
            if self.whole:
                whole.global_max_pool_forward(data, inner, top[0].data)
            else:
                max_pool_forward(data, *extent, self.workspace, top[0].data, window=window)
            for mask in top[1:]:
                max_pool_mask(data, *extent, self.workspace, mask.data, window=window)
        elif self.pool == PoolingParameter.AVE:
            if self.whole:
                whole.global_ave_pool_forward(data, inner, top[0].data)
            else:
                ave_pool_forward(data, *extent, self.workspace, top[0].data, window=window)
        elif self._draws:
            seed = int(generator().integers(2**31))
            stochastic.stochastic_pool_forward(data, seed, *extent, self.mask.array, top[0].data, window=window)
        else:
            stochastic.weighted_pool_forward(data, *extent, top[0].data, window=window)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if not propagate_down[0]:
            return
        data, diff, extent, window = bottom[0].data, bottom[0].diff, self.extent, self.current
        inner = extent[0] * extent[1]
        if self.pool == PoolingParameter.MAX:
            if self.whole:
                whole.global_max_pool_backward(data, top[0].diff, inner, diff)
            else:
                max_pool_backward(data, top[0].diff, *extent, self.workspace, diff, window=window)
        elif self.pool == PoolingParameter.AVE:
            if self.whole:
                whole.global_ave_pool_backward(top[0].diff, inner, diff)
            else:
                ave_pool_backward(top[0].diff, *extent, self.workspace, diff, window=window)
        elif self._draws:
            stochastic.stochastic_pool_backward(top[0].diff, self.mask.array, *extent[:2], diff)
        else:
            stochastic.weighted_pool_backward(data, top[0].diff, *extent, diff, window=window)


@kernel("pooling.cu", per="top_data")
def max_pool_forward(
    bottom_data: Floats,
    height: int,
    width: int,
    pooled_height: int,
    pooled_width: int,
    workspace: Floats,
    top_data: Floats,
    *,
    window: PoolingWindow,
) -> None:
    """top = the greatest value above -FLT_MAX under the window, else -FLT_MAX"""
    image, top = bottom_data.reshape(-1, height, width), top_data.reshape(-1, pooled_height, pooled_width)
    shifts = shifts_of(height, width, pooled_height, pooled_width, window)
    for part in shifts.blocks(len(image)):
        arranged, results = _memory(shifts, part, workspace)
        shifts.arrange(image[part], arranged, LOWEST)
        results[...] = LOWEST
        for seen in shifts.seen(arranged):
            np.fmax(results, seen, out=results)
        top[part] = shifts.at_positions(results)


@kernel("pooling.cu", per="bottom_diff")
def max_pool_backward(
    bottom_data: Floats,
    top_diff: Floats,
    height: int,
    width: int,
    pooled_height: int,
    pooled_width: int,
    workspace: Floats,
    bottom_diff: Floats,
    *,
    window: PoolingWindow,
) -> None:
    """bottom_diff = the sum of the top_diff of every window whose first maximum, row by row, stands here"""
    diff = bottom_diff.reshape(-1, height * width)
    top = top_diff.reshape(-1, pooled_height, pooled_width)
    bottom_diff[...] = 0
    for part, places in _places(bottom_data, height, width, pooled_height, pooled_width, workspace, window):
        found = places >= 0
        places += np.arange(len(places))[:, None, None] * (height * width)
        here, values = (places, top[part]) if found.all() else (places[found], top[part][found])
        np.add.at(diff[part].reshape(-1), here.reshape(-1), values.reshape(-1))


@kernel("pooling.cu", per="mask_data")
def max_pool_mask(
    bottom_data: Floats,
    height: int,
    width: int,
    pooled_height: int,
    pooled_width: int,
    workspace: Floats,
    mask_data: Floats,
    *,
    window: PoolingWindow,
) -> None:
    """mask = h * width + w of the window's first maximum, row by row; -1 without one"""
    mask = mask_data.reshape(-1, pooled_height, pooled_width)
    for part, places in _places(bottom_data, height, width, pooled_height, pooled_width, workspace, window):
        mask[part] = places


@kernel("pooling.cu", per="top_data")
def ave_pool_forward(
    bottom_data: Floats,
    height: int,
    width: int,
    pooled_height: int,
    pooled_width: int,
    workspace: Floats,
    top_data: Floats,
    *,
    window: PoolingWindow,
) -> None:
    """top = sum over the window / its area"""
    image, top = bottom_data.reshape(-1, height, width), top_data.reshape(-1, pooled_height, pooled_width)
    areas = window.areas(height, width, pooled_height, pooled_width)
    shifts = shifts_of(height, width, pooled_height, pooled_width, window)
    for part in shifts.blocks(len(image)):
        arranged, results = _memory(shifts, part, workspace)
        shifts.arrange(image[part], arranged)
        results[...] = 0
        for seen in shifts.seen(arranged):
            results += seen
        np.divide(shifts.at_positions(results), areas, out=top[part])


@kernel("pooling.cu", per="bottom_diff")
def ave_pool_backward(
    top_diff: Floats,
    height: int,
    width: int,
    pooled_height: int,
    pooled_width: int,
    workspace: Floats,
    bottom_diff: Floats,
    *,
    window: PoolingWindow,
) -> None:
    """bottom_diff = the sum of top_diff / area of every window here"""
    diff, top = bottom_diff.reshape(-1, height, width), top_diff.reshape(-1, pooled_height, pooled_width)
    areas = window.areas(height, width, pooled_height, pooled_width)
    shifts = shifts_of(height, width, pooled_height, pooled_width, window)
    for part in shifts.blocks(len(diff)):
        arranged_diff, results = _memory(shifts, part, workspace)
        results[...] = arranged_diff[...] = 0
        np.divide(top[part], areas, out=shifts.at_positions(results))
        for seen in shifts.seen(arranged_diff):
            seen += results
        shifts.collect(arranged_diff, diff[part])


def _memory(shifts: Shifts, part: slice, workspace: Floats) -> list[Floats]:
    planes = part.stop - part.start
    return cut(workspace, (shifts.arranged_count(planes),), (planes * shifts.size,))


def _places(
    bottom_data: Floats,
    height: int,
    width: int,
    pooled_height: int,
    pooled_width: int,
    workspace: Floats,
    window: PoolingWindow,
) -> Iterator[tuple[slice, NDArray[np.int64]]]:
    """Some planes at a time, h * width + w of each window's first greatest value if it is above -FLT_MAX, else -1."""
    image = bottom_data.reshape(-1, height, width)
    shifts = shifts_of(height, width, pooled_height, pooled_width, window)
    rows = np.arange(pooled_height) * window.stride_h - window.pad_h
    columns = np.arange(pooled_width) * window.stride_w - window.pad_w
    corner = rows[:, None] * width + columns
    steps = np.arange(window.kernel_h)[:, None] * width + np.arange(window.kernel_w)
    step = np.concatenate([[0], steps.reshape(-1)])
    for part in shifts.blocks(len(image)):
        arranged, maxima = _memory(shifts, part, workspace)
        shifts.arrange(image[part], arranged, LOWEST)
        maxima[...] = LOWEST
        winner = np.zeros(maxima.shape, np.min_scalar_type(step.size))
        for number, seen in enumerate(shifts.seen(arranged), start=1):
            greater = np.greater(seen, maxima).view(np.uint8)
            np.maximum(winner, np.multiply(greater, number, dtype=winner.dtype), out=winner)
            np.fmax(maxima, seen, out=maxima)
        tap = shifts.at_positions(winner)
        places = step.take(tap)
        places += corner
        if not tap.all():
            places[tap == 0] = -1
        yield part, places
