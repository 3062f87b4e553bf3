"""Pooling: the maximum, the mean or a sample of each window of an image."""

import math
from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Ints, Shape
from caffepy.kernels import kernel
from caffepy.layer import Layer, State, register
from caffepy.layers.vision import global_pooling as whole
from caffepy.layers.vision import pooling_plan
from caffepy.layers.vision import stochastic_pooling as stochastic
from caffepy.layers.vision.arranged import BLOCK, Shifts, cut, shifts_of
from caffepy.layers.vision.global_pooling import LOWEST
from caffepy.layers.vision.pooling_nd import Box, Chain, steps_of
from caffepy.layers.vision.window import PoolingWindow
from caffepy.limits import ENTRY
from caffepy.proto.caffe_pb2 import TRAIN, PoolingParameter
from caffepy.rng import kernel_seed


@register("Pooling", bottoms=1, tops=(1, 2))
class Pooling(Layer):
    """bottom (n, c, h, w) -> top (n, c, ph, pw); for MAX a second top of that shape has each maximum's place,
    h * width + w, as a float.

    MAX: the greatest value of the window; AVE: the sum over the window divided by its area, padding counted as far as
    height + pad and width + pad (Caffe: pooling_layer.cpp). A window wholly outside gives -FLT_MAX, or 0.
    STOCHASTIC: TRAIN draws a value in proportion to its size, TEST gives the mean weighted by the values.

    MAX and AVE take bottoms of more axes, too, and of fewer with kernel_shape: kernel_size, stride and pad hold for all
    axes from the third on, or kernel_shape, stride_shape and pad_shape for each; the prototxt may also repeat
    kernel_size, stride and pad (C3D, video-caffe). A pad drops last windows along its own axis then.
    """

    row_bottoms = (0,)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.pooling_param
        self.pool, self.round_up = p.pool, p.round_mode == PoolingParameter.CEIL
        self.draws = p.pool == PoolingParameter.STOCHASTIC and self.phase == TRAIN
        self.reads = ("bottom",) if p.pool == PoolingParameter.STOCHASTIC and not self.draws else ()
        if len(self.param.top) > 1 and p.pool != PoolingParameter.MAX:
            raise self.error(f"only pool: MAX has places for a second top {self.param.top[1]!r}; remove that top")
        self.window = self.box = None
        axes = len(bottom_shapes[0])
        if (axes > 4 or p.HasField("kernel_shape")) and not p.global_pooling:
            self._expect_no_plane(axes)
            self.box = Box.read(p, axes - 2, self.error)
        elif not p.global_pooling:
            self.window = PoolingWindow.read(p, self.error)
        elif p.HasField("kernel_size") or p.HasField("kernel_h") or p.HasField("kernel_w"):
            raise self.error("global_pooling: true takes the whole image; remove kernel_size, kernel_h and kernel_w")
        elif {p.pad, p.pad_h, p.pad_w} != {0} or p.stride != 1 or not {p.stride_h, p.stride_w} <= {0, 1}:
            raise self.error("global_pooling: true takes the whole image; remove pad and stride")

    def _expect_no_plane(self, axes: int) -> None:
        if self.pool not in (PoolingParameter.MAX, PoolingParameter.AVE) or len(self.param.top) > 1 or axes < 3:
            raise self.error(f"with {axes} axes pool: MAX and AVE are there, with one top, for 3 axes at least")

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        bottom = bottom_shapes[0]
        if not math.prod(bottom[2:]):
            raise self.error(f"bottom shape {bottom} is a picture without pixels; it needs 1 x 1 at least")
        if self.box:
            self.expect_axes(bottom_shapes, 0, 2 + len(self.box.kernel))
            steps, pooled_axes = steps_of(self.box, bottom, round_up=self.round_up)
            if min(pooled_axes) < 1:
                raise self.error(f"the window {self.box} does not fit into the bottom, whose shape is {bottom}")
            self.chain = Chain(self, steps, masks=self.pool == PoolingParameter.MAX)
            return [(*bottom[:2], *pooled_axes)]
        if self.window is None and len(bottom) > 4:
            self._expect_no_plane(len(bottom))
            self.whole, self.inner, top = True, math.prod(bottom[2:]), (*bottom[:2], *[1] * (len(bottom) - 2))
            self.extent, self.current = (1, self.inner, 1, 1), PoolingWindow(1, self.inner)
            self.mask: State = self.state("mask", top, np.int32)
            return [top]
        num, channels, height, width = self.expect_axes(bottom_shapes, 0, 4)
        window = self.current = self.window or PoolingWindow(height, width)
        pooled = window.pooled(height, width, round_up=self.round_up)
        if min(pooled) < 1:
            raise self.error(f"the window {window} does not fit into the bottom, whose shape is {bottom_shapes[0]}")
        self.extent, self.inner, top_shape = (height, width, *pooled), height * width, (num, channels, *pooled)
        self.whole = pooled == (1, 1) and window.holds(height, width)
        if self.pool == PoolingParameter.MAX or self.draws:
            self.mask = self.state("mask", top_shape, np.int32)
        if self.draws:
            self.seed: State = self.state("seed", (1,), np.int32)
        self.reserve_work(window.work(num * channels, *pooled), ENTRY * window.taps)
        shifts = shifts_of(*self.extent, window)
        planes = shifts.together(num * channels)
        self.reserve_workspace(shifts.arranged_count(planes) + planes * shifts.size)
        return [top_shape] * len(self.param.top)

    def prepare(self) -> None:
        if self.draws:
            self.seed.set(kernel_seed())

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        if self.box:
            self._forward_steps(bottom[0].data, top[0].data)
            return
        data, top_data, extent, window = bottom[0].data, top[0].data, self.extent, self.current
        if self.pool == PoolingParameter.MAX:
            if self.whole:
                whole.global_max_pool_forward(data, self.inner, self.mask.array, top_data)
            else:
                max_pool_forward(data, *extent, self.workspace, self.mask.array, top_data, window=window)
            for mask_top in top[1:]:
                max_pool_mask(self.mask.array, mask_top.data)
        elif self.pool == PoolingParameter.AVE and self.whole:
            whole.global_ave_pool_forward(data, self.inner, top_data)
        elif self.pool == PoolingParameter.AVE:
            ave_pool_forward(data, *extent, self.workspace, top_data, window=window)
        elif self.draws:
            seed, mask = self.seed.array, self.mask.array
            stochastic.stochastic_pool_forward(data, seed, *extent, mask, top_data, window=window)
        else:
            stochastic.weighted_pool_forward(data, *extent, top_data, window=window)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if not propagate_down[0]:
            return
        if self.box:
            self._backward_steps(top[0].diff, bottom[0].diff)
            return
        top_diff, bottom_diff, extent, window = top[0].diff, bottom[0].diff, self.extent, self.current
        if self.pool == PoolingParameter.MAX and self.whole:
            whole.global_max_pool_backward(top_diff, self.mask.array, self.inner, bottom_diff)
        elif self.pool == PoolingParameter.MAX or self.draws:
            max_pool_backward(top_diff, self.mask.array, *extent, bottom_diff, window=window)
        elif self.pool == PoolingParameter.AVE and self.whole:
            whole.global_ave_pool_backward(top_diff, self.inner, bottom_diff)
        elif self.pool == PoolingParameter.AVE:
            ave_pool_backward(top_diff, *extent, self.workspace, bottom_diff, window=window)
        else:
            stochastic.weighted_pool_backward(bottom[0].data, top_diff, *extent, bottom_diff, window=window)

    def _forward_steps(self, bottom_data: Floats, top_data: Floats) -> None:
        values = self.chain.values(bottom_data, top_data)
        for i, (_, extent, window) in enumerate(self.chain.steps):
            if self.pool == PoolingParameter.MAX:
                mask = self.chain.mask(i).array
                max_pool_forward(values[i], *extent, self.workspace, mask, values[i + 1], window=window)
            else:
                ave_pool_forward(values[i], *extent, self.workspace, values[i + 1], window=window)

    def _backward_steps(self, top_diff: Floats, bottom_diff: Floats) -> None:
        diffs = self.chain.diffs(bottom_diff, top_diff)
        for i, (_, extent, window) in reversed(list(enumerate(self.chain.steps))):
            if self.pool == PoolingParameter.MAX:
                max_pool_backward(diffs[i + 1], self.chain.mask(i).array, *extent, diffs[i], window=window)
            else:
                ave_pool_backward(diffs[i + 1], *extent, self.workspace, diffs[i], window=window)


@kernel("pooling.cu", plan=pooling_plan.max_pool_forward)
def max_pool_forward(
    bottom_data: Floats,
    height: int,
    width: int,
    pooled_height: int,
    pooled_width: int,
    workspace: Floats,
    mask: Ints,
    top_data: Floats,
    *,
    window: PoolingWindow,
) -> None:
    """top = the greatest value above -FLT_MAX under the window, else -FLT_MAX

    mask = h * width + w of the first such value, row by row, else -1
    """
    image, top = bottom_data.reshape(-1, height, width), top_data.reshape(-1, pooled_height, pooled_width)
    places = mask.reshape(top.shape)
    shifts = shifts_of(height, width, pooled_height, pooled_width, window)
    steps, before_corner = window.places(width, pooled_height, pooled_width)
    for part in shifts.blocks(len(image)):
        arranged, maxima = _memory(shifts, part, workspace)
        shifts.arrange(image[part], arranged, LOWEST)
        maxima[...] = LOWEST
        winner = np.zeros(maxima.size, np.min_scalar_type(steps[-1]))
        greater, number = np.empty(maxima.size, np.bool_), np.empty_like(winner)
        for step, seen in zip(steps, shifts.seen(arranged), strict=True):
            np.greater(seen, maxima, out=greater)
            np.multiply(greater.view(np.uint8), winner.dtype.type(step), out=number)
            np.maximum(winner, number, out=winner)  # pixels of the image come in their order: steps only grow
            np.fmax(maxima, seen, out=maxima)
        top[part] = shifts.at_positions(maxima)
        winners, here = shifts.at_positions(winner), places[part]
        here[...] = winners
        found = here.all()
        here += before_corner
        if not found:
            here[winners == 0] = -1


@kernel("global_pooling.cu", per="mask_data")
def max_pool_mask(mask: Ints, mask_data: Floats) -> None:
    """mask_data = mask"""
    np.copyto(mask_data, mask)


@kernel("pooling.cu", plan=pooling_plan.max_pool_backward)
def max_pool_backward(
    top_diff: Floats,
    mask: Ints,
    height: int,
    width: int,
    pooled_height: int,
    pooled_width: int,
    bottom_diff: Floats,
    *,
    window: PoolingWindow,
) -> None:
    """bottom_diff = the sum of the top_diff of every window whose mask is this place"""
    diff, top = bottom_diff.reshape(-1, height * width), top_diff.reshape(-1, pooled_height * pooled_width)
    places, bottom_diff[...] = mask.reshape(top.shape), 0
    together = max(1, BLOCK // diff.shape[1])
    first_place = np.arange(together)[:, None] * diff.shape[1]
    for first in range(0, len(diff), together):
        here, values = places[first : first + together], top[first : first + together]
        index = here + first_place[: len(here)]
        if here.min() < 0:
            index, values = index[here >= 0], values[here >= 0]
        np.add.at(diff[first : first + together].reshape(-1), index.reshape(-1), values.reshape(-1))


@kernel("pooling.cu", plan=pooling_plan.ave_pool_forward)
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


@kernel("pooling.cu", plan=pooling_plan.ave_pool_backward)
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
