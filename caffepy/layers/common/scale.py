"""Scale and Bias: a blob times a smaller one, plus a smaller one, or both, broadcast."""

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import Layer, State, register
from caffepy.layers.basis.channelwise import channel_blocks, channel_products, channel_sums
from caffepy.layers.basis.elementwise import copy_backward
from caffepy.proto.caffe_pb2 import BiasParameter, FillerParameter, ScaleParameter


class _Operand(Layer):
    """bottom (outer..., operand..., inner...) and an operand: weight 0, or bottom 1. Runs in place on bottom 0.

    A weight has the bottom's extents over `num_axes` axes from `axis` on (-1: all that follow; 0: one number); bottom 1
    has any shape that the bottom has from `axis` on.
    """

    in_place = True
    param_diffs_later = True
    operand: ClassVar[str]
    """What it is called."""

    def read_operand(self, p: ScaleParameter | BiasParameter, bottom_shapes: Sequence[Shape], default: float) -> Shape:
        """Read the parameters; declare the operand if it is a weight. Returns its shape."""
        self.axis = p.axis
        self.learned = len(bottom_shapes) == 1
        if self.learned:
            shape = self._weight_shape(p.num_axes, bottom_shapes[0])
            self.add_weights(shape, p.filler if p.HasField("filler") else FillerParameter(value=default))
            return shape
        if self.param.bottom[1] == self.param.top[0]:
            raise self.error(f"may run in place on bottom 0 only, not on bottom 1, the {self.operand}")
        return bottom_shapes[1]

    def _weight_shape(self, num_axes: int, bottom: Shape) -> Shape:
        if num_axes < -1:
            raise self.error(f"num_axes: {num_axes} must be at least 0, or -1 for all axes from `axis` on")
        axis = self.canonical_axis(self.axis, bottom) if num_axes != 0 else 0
        end = len(bottom) if num_axes == -1 else axis + num_axes
        if end > len(bottom):
            raise self.error(f"num_axes: {num_axes} from axis {axis} on goes beyond bottom shape {bottom}")
        return bottom[axis:end]

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        bottom = bottom_shapes[0]
        shape = self.blobs[0].shape if self.learned else bottom_shapes[1]
        axis = self.canonical_axis(self.axis, bottom) if shape else 0
        end = axis + len(shape)
        if bottom[axis:end] != shape:
            raise self.error(f"bottom shape {bottom} must be {shape}, the {self.operand}'s shape, from axis {axis} on")
        self.row_bottoms = (0,) if self.learned and (axis or not shape) else ()
        self.extent = math.prod(bottom[:axis]), math.prod(shape), math.prod(bottom[end:])
        return [bottom]

    def given(self, bottom: Sequence[Arrays]) -> Arrays:
        """The operand."""
        return self.params[0] if self.learned else bottom[1]

    def wanted(self, propagate_down: Sequence[bool]) -> bool:
        """Whether backward computes the operand's diff."""
        return self.param_propagate_down[0] if self.learned else propagate_down[1]


@register("Scale", bottoms=(1, 2), tops=1)
class Scale(_Operand):
    """bottom (outer..., scale..., inner...) -> the same; top = bottom * scale [+ bias] (Caffe: scale_layer.cpp).

    scale is a weight over `num_axes` axes from `axis` on (-1: all that follow; 0: one number), or bottom 1, whose
    shape the bottom must have from `axis` on. bias has scale's shape and is always a weight. Runs in place.
    """

    operand = "scale"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.scale_param
        shape = self.read_operand(p, bottom_shapes, 1)
        if p.bias_term:
            self.add_weights(shape, p.bias_filler)
        keeps = self.runs_in_place  # the scale's diff needs the bottom
        self.reads = () if self.learned or keeps else ("bottom",)
        self.param_reads = ("bottom",) if self.learned and not keeps else ()

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        tops = super().reshape(bottom_shapes)
        if not self.learned and self.param.scale_param.bias_term and self.blobs[-1].shape != bottom_shapes[1]:
            raise self.error(
                f"bottom 1, the scale, has shape {bottom_shapes[1]}, but the bias {self.blobs[-1].shape}; keep it"
            )
        if self.runs_in_place:
            self.kept: State = self.state("bottom", bottom_shapes[0])
        return tops

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        bias = self.params[-1].data if self.param.scale_param.bias_term else None
        kept = self.kept.array if self.runs_in_place else None
        scale_forward(bottom[0].data, self.given(bottom).data, bias, *self.extent, kept, top[0].data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        data = self.kept.array if self.runs_in_place else bottom[0].data
        scale, top_diff = self.given(bottom), top[0].diff
        if self.param.scale_param.bias_term and self.param_propagate_down[-1]:
            bias_backward_weights(top_diff, *self.extent, self.params[-1].diff, accumulate=True)
        if self.wanted(propagate_down):
            scale_backward_weights(data, top_diff, *self.extent, scale.diff, accumulate=self.learned)
        if propagate_down[0]:
            scale_backward(top_diff, scale.data, *self.extent, bottom[0].diff)


@register("Bias", bottoms=(1, 2), tops=1)
class Bias(_Operand):
    """bottom (outer..., bias..., inner...) -> the same; top = bottom + bias (Caffe: bias_layer.cpp).

    bias is a weight over `num_axes` axes from `axis` on (-1: all that follow; 0: one number), or bottom 1, whose shape
    the bottom must have from `axis` on. Runs in place.
    """

    operand = "bias"
    reads = ()
    param_reads = ()

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.read_operand(self.param.bias_param, bottom_shapes, 0)

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        scale_forward(bottom[0].data, None, self.given(bottom).data, *self.extent, None, top[0].data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if self.wanted(propagate_down):
            diff = self.given(bottom).diff
            bias_backward_weights(top[0].diff, *self.extent, diff, accumulate=self.learned)
        if propagate_down[0]:
            copy_backward(top[0].diff, bottom[0].diff)


@kernel("scale.cu", per="top_data", each=4)
def scale_forward(
    bottom_data: Floats,
    scale_data: Floats | None,
    bias_data: Floats | None,
    outer: int,
    channels: int,
    inner: int,
    kept: Floats | None,
    top_data: Floats,
) -> None:
    """kept = bottom; top[o, c, i] = bottom[o, c, i] * scale[c] + bias[c]; top may be bottom, a missing scale is 1"""
    x, y = bottom_data.reshape(outer, channels, inner), top_data.reshape(outer, channels, inner)
    for part in channel_blocks(outer, channels, inner):
        values = x[part]
        if kept is not None:
            kept.reshape(outer, channels, inner)[part] = values
        if scale_data is not None:
            values = np.multiply(values, scale_data.reshape(channels, 1)[part[1]], out=y[part])
        if bias_data is not None:
            np.add(values, bias_data.reshape(channels, 1)[part[1]], out=y[part])


@kernel("scale.cu", per="bottom_diff", each=4)
def scale_backward(
    top_diff: Floats, scale_data: Floats, outer: int, channels: int, inner: int, bottom_diff: Floats
) -> None:
    """bottom_diff[o, c, i] = top_diff[o, c, i] * scale[c]"""
    dy, dx = top_diff.reshape(outer, channels, inner), bottom_diff.reshape(outer, channels, inner)
    np.multiply(dy, scale_data.reshape(channels, 1), out=dx)


@kernel("scale_weights.cu", rows="scale_diff", threads=1024)
def scale_backward_weights(
    bottom_data: Floats,
    top_diff: Floats,
    outer: int,
    channels: int,
    inner: int,
    scale_diff: Floats,
    *,
    accumulate: bool,
) -> None:
    """scale_diff[c] = (scale_diff[c] if accumulate else 0) + sum over o, i of bottom[o, c, i] * top_diff[o, c, i]"""
    x, dy = bottom_data.reshape(outer, channels, inner), top_diff.reshape(outer, channels, inner)
    diff = scale_diff.reshape(channels)
    if not accumulate:
        diff[...] = 0
    diff += channel_products(x, dy)


@kernel("scale_weights.cu", rows="bias_diff", threads=1024)
def bias_backward_weights(
    top_diff: Floats, outer: int, channels: int, inner: int, bias_diff: Floats, *, accumulate: bool
) -> None:
    """bias_diff[c] = (bias_diff[c] if accumulate else 0) + sum over o, i of top_diff[o, c, i]"""
    diff = bias_diff.reshape(channels)
    if not accumulate:
        diff[...] = 0
    diff += channel_sums(top_diff.reshape(outer, channels, inner))
