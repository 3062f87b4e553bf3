"""Convolution: every output channel a weighted sum of the pixels under a sliding window."""

import functools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Shape, Weights
from caffepy.kernels import kernel, precision
from caffepy.layer import Layer, register
from caffepy.layers.basis.channelwise import channel_sums
from caffepy.layers.basis.elementwise import rectify
from caffepy.layers.vision import convolution_plan, depthwise
from caffepy.layers.vision.arranged import Shifts
from caffepy.layers.vision.im2col import Columns, Unfolding
from caffepy.layers.vision.window import Window
from caffepy.limits import ENTRY


class BaseConvolution(Layer):
    """What convolution and its transpose have in common: parameters, weights and checks.

    `image_channels` is on the side that the window slides over, `column_channels` on the other; the weights are
    (column_channels, image_channels / group, *kernel) and the bias (num_output).
    """

    same_number = True
    reads = ()
    param_diffs_later = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.convolution_param
        self.axis = self.canonical_axis(p.axis, bottom_shapes[0])
        self.channels = bottom_shapes[0][self.axis]
        self.window = Window.read(p, len(bottom_shapes[0]) - self.axis - 1, self.error)
        if not self.window.kernel:
            raise self.error(f"bottom shape {bottom_shapes[0]} has no axis after axis {self.axis} to slide along")
        self.num_output, self.group = p.num_output, p.group
        if p.num_output < 1 or p.group < 1:
            raise self.error(f"num_output and group must be at least 1, got {p.num_output} and {p.group}")
        for what, number in (("channels of the bottom", self.channels), ("num_output", p.num_output)):
            if number % p.group:
                raise self.error(f"{what} must be a multiple of group, got {number} with group: {p.group}")
        self.add_weights((self.column_channels, self.image_channels // p.group, *self.window.kernel), p.weight_filler)
        if p.bias_term:
            self.add_weights((p.num_output,), p.bias_filler)

    @property
    def image_channels(self) -> int:
        """Channels of the image that the window slides over."""
        return self.channels

    @property
    def column_channels(self) -> int:
        """Channels of what the window gives at each position."""
        return self.num_output

    def check_bottoms(self, bottom_shapes: Sequence[Shape]) -> None:
        """All bottoms alike, of the axes and channels that `setup` saw."""
        first = bottom_shapes[0]
        if len(first) != self.axis + 1 + len(self.window.kernel) or first[self.axis] != self.channels:
            raise self.error(
                f"bottom {self.param.bottom[0]!r} must keep its {self.axis + 1 + len(self.window.kernel)} axes and "
                f"{self.channels} channels in axis {self.axis}, got shape {first}"
            )
        for name, shape in zip(self.param.bottom, bottom_shapes, strict=True):
            if shape != first:
                raise self.error(f"all bottoms must have one shape, got {first} and {shape} in {name!r}")
        if not math.prod(first[self.axis + 1 :]):
            raise self.error(f"bottom shape {first} is a picture without pixels; it needs 1 x 1 at least")

    def reserve(self, num: int, extent: Shape, positions: int) -> None:
        """Ask for the workspace that the operations need for `num` images of that extent."""
        taps = ENTRY * math.prod(self.window.kernel)
        self.reserve_work(self.blobs[0].count * num * positions * len(self.param.bottom) + taps, taps)
        sizes = num, extent, self.blobs[0].shape, self.window, self.group
        self.reserve_workspace(max(workspace_count(*sizes), convolution_plan.workspace_count(*sizes)))

    def factors(self) -> Weights:
        """The weights; with one channel to a group they are few, and no product is made of them."""
        weight = self.params[0]
        given: Weights = weight.data if weight.shape[1] == 1 else precision.weights(weight)
        return given


@register("Convolution", bottoms=(1, None), tops=(1, None))
class Convolution(BaseConvolution):
    """Each bottom (..., c, *extent) -> its top (..., num_output, *positions), with the same weights.

    top[o, p] = bias[o] + sum over c, k of weight[o, c, k] * bottom[c, p * stride + k * dilation - pad], zeros outside;
    o and c in the same of `group` equal parts; positions = (extent + 2 pad - dilation (kernel - 1) - 1) / stride + 1,
    rounded down (Caffe: base_conv_layer.cpp, conv_layer.cpp).
    """

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        self.check_bottoms(bottom_shapes)
        bottom = bottom_shapes[0]
        self.num, extent = math.prod(bottom[: self.axis]), bottom[self.axis + 1 :]
        positions = self.window.positions(extent)
        if min(positions, default=1) < 1:
            raise self.error(f"the window {self.window} does not fit into the bottom, whose shape is {bottom}")
        self.positions = math.prod(positions)
        self.reserve(self.num, extent, self.positions)
        self.row_bottoms = range(len(bottom_shapes)) if self.axis else ()
        return [(*bottom[: self.axis], self.num_output, *positions)] * len(bottom_shapes)

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        weight, bias = self.factors(), self.params[1].data if len(self.params) > 1 else None
        for b, t in zip(bottom, top, strict=True):
            convolution_forward(b.data, weight, bias, self.workspace, t.data, window=self.window, group=self.group)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        window, group, weight = self.window, self.group, self.params[0]
        for t, down, b in zip(top, propagate_down, bottom, strict=True):
            if self.param_propagate_down[0]:
                convolution_backward_weights(b.data, t.diff, self.workspace, weight.diff, window=window, group=group)
            if len(self.params) > 1 and self.param_propagate_down[1]:
                convolution_backward_bias(t.diff, self.num, self.positions, self.params[1].diff)
            if down:
                convolution_backward(t.diff, self.factors(), self.workspace, b.diff, window=window, group=group)


@kernel("convolution_forward.cu", plan=convolution_plan.forward)
def convolution_forward(
    bottom_data: Floats,
    weight_data: Weights,
    bias_data: Floats | None,
    workspace: Floats,
    top_data: Floats,
    *,
    window: Window,
    group: int,
    negative_slope: float = 1.0,
) -> None:
    """top[o, p] = bias[o] + sum over c, k of weight[o, c, k] * bottom[c, p * stride + k * dilation - pad]

    What is below 0 is multiplied by negative_slope.
    """
    _multiply_and_add(bottom_data, weight_data, bias_data, workspace, top_data, window, group)
    if negative_slope != 1:
        rectify(top_data, negative_slope, top_data)


def _multiply_and_add(
    bottom_data: Floats,
    weight_data: Floats,
    bias_data: Floats | None,
    workspace: Floats,
    top_data: Floats,
    window: Window,
    group: int,
) -> None:
    if _is_depthwise(weight_data.shape, group):
        images, tops, weight, shifts = _planes(bottom_data, top_data, weight_data, window)
        bias = None if bias_data is None else bias_data.reshape(group, -1)
        depthwise.forward(images, weight, bias, shifts, workspace, tops)
        return
    weight = _by_group(weight_data, group)
    for part in _unfoldings(bottom_data, weight_data.shape, group, top_data, window, workspace):
        part.arrange()
        for block in part.blocks():
            np.matmul(weight, part.unfold(*block), out=part.product(*block))
        part.crop(bias_data)


@kernel("convolution_backward.cu", plan=convolution_plan.backward)
def convolution_backward(
    top_diff: Floats, weight_data: Weights, workspace: Floats, bottom_diff: Floats, *, window: Window, group: int
) -> None:
    """bottom_diff[c, i] = sum over o, k, p of weight[o, c, k] * top_diff[o, p], where p sees i through tap k"""
    if _is_depthwise(weight_data.shape, group):
        images, tops, weight, shifts = _planes(bottom_diff, top_diff, weight_data, window)
        depthwise.backward(tops, weight, shifts, workspace, images)
        return
    weight = _by_group(weight_data, group).swapaxes(1, 2)
    for part in _unfoldings(bottom_diff, weight_data.shape, group, top_diff, window, workspace):
        part.widen()
        part.clear()
        for block in part.blocks():
            np.matmul(weight, part.product(*block), out=part.matrix(*block))
            part.fold(*block)
        part.collect()


@kernel("convolution_backward_weights.cu", plan=convolution_plan.backward_weights)
def convolution_backward_weights(
    bottom_data: Floats, top_diff: Floats, workspace: Floats, weight_diff: Floats, *, window: Window, group: int
) -> None:
    """weight_diff[o, c, k] += sum over p of top_diff[o, p] * bottom[c, p * stride + k * dilation - pad]"""
    if _is_depthwise(weight_diff.shape, group):
        images, tops, weight, shifts = _planes(bottom_data, top_diff, weight_diff, window)
        depthwise.backward_weights(images, tops, shifts, workspace, weight)
        return
    total = _by_group(weight_diff, group)
    product = workspace[workspace.size - total.size :].reshape(total.shape)
    for part in _unfoldings(bottom_data, weight_diff.shape, group, top_diff, window, workspace):
        part.arrange()
        part.widen()
        for block in part.blocks():
            np.matmul(part.product(*block), part.unfold(*block).swapaxes(1, 2), out=product)
            total += product


@kernel("convolution_bias.cu", rows="bias_diff")
def convolution_backward_bias(top_diff: Floats, num: int, inner: int, bias_diff: Floats) -> None:
    """bias_diff[o] += sum over p of top_diff[o, p]"""
    bias_diff += channel_sums(top_diff.reshape(num, bias_diff.size, inner))


def workspace_count(num: int, extent: Shape, weight_shape: Shape, window: Window, group: int) -> int:
    """Elements of workspace that the operations need for `num` images of that extent."""
    channels = weight_shape[1] * group
    if _is_depthwise(weight_shape, group):
        weights = weight_shape[0] // group, *window.kernel
        return depthwise.workspace_count(num, channels, weights, _shifts(extent, window))
    return _columns(num, channels, weight_shape[0], extent, window).count + math.prod(weight_shape)


def _is_depthwise(weight_shape: Shape, group: int) -> bool:
    return weight_shape[1] == 1 and group > 1


@functools.lru_cache(maxsize=4096)
def _columns(num: int, channels: int, outputs: int, extent: Shape, window: Window) -> Columns:
    return Columns(num, channels, outputs, extent, window)


@functools.lru_cache(maxsize=4096)
def _shifts(extent: Shape, window: Window) -> Shifts:
    return Shifts(extent, window.positions(extent), window)


def _by_group(weight: Floats, group: int) -> Floats:
    """(group, outputs, channels * taps), of one group each"""
    return weight.reshape(group, weight.shape[0] // group, -1)


def _unfoldings(
    bottom: Floats, weight_shape: Shape, group: int, top: Floats, window: Window, workspace: Floats
) -> Iterator[Unfolding]:
    """The images and tops, some at a time; the next overwrites the last one's workspace."""
    channels, outputs, axes = weight_shape[1] * group, weight_shape[0], len(window.kernel)
    extent, positions = bottom.shape[bottom.ndim - axes :], top.shape[top.ndim - axes :]
    columns = _columns(bottom.size // (channels * math.prod(extent)), channels, outputs, extent, window)
    images = bottom.reshape(-1, columns.images, channels, *extent)
    tops = top.reshape(-1, columns.images, outputs, *positions)
    return (Unfolding(columns, group, *both, workspace) for both in zip(images, tops, strict=True))


def _planes(bottom: Floats, top: Floats, weight: Floats, window: Window) -> tuple[Floats, Floats, Floats, Shifts]:
    """For depthwise: images (num, channels, *extent), tops (num, channels, outputs, *positions), weights."""
    axes = len(window.kernel)
    extent, positions = bottom.shape[bottom.ndim - axes :], top.shape[top.ndim - axes :]
    images = bottom.reshape(-1, bottom.shape[-axes - 1], *extent)
    channels = images.shape[1]
    tops = top.reshape(len(images), channels, len(weight) // channels, *positions)
    return images, tops, weight.reshape(channels, tops.shape[2], *window.kernel), _shifts(extent, window)
