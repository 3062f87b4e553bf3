"""Scale: a blob times a smaller one, broadcast, and optionally plus another."""

import math
from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import Layer, State, register
from caffepy.layers.channelwise import channel_blocks, channel_products, channel_sums
from caffepy.proto.caffe_pb2 import FillerParameter


@register("Scale", bottoms=(1, 2), tops=1)
class Scale(Layer):
    """bottom (outer..., scale..., inner...) -> the same; top = bottom * scale [+ bias] (Caffe: scale_layer.cpp).

    scale is a weight over `num_axes` axes from `axis` on (-1: all that follow; 0: one number), or bottom 1, whose
    shape the bottom must have from `axis` on. bias has scale's shape and is always a weight. Runs in place.
    """

    in_place = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.scale_param
        self.learned = len(bottom_shapes) == 1
        if self.learned:
            scale_shape = self._weight_shape(bottom_shapes[0])
            self.add_weights(scale_shape, p.filler if p.HasField("filler") else FillerParameter(value=1))
        else:
            if self.param.bottom[1] == self.param.top[0]:
                raise self.error("may run in place on bottom 0 only, not on bottom 1, the scale")
            scale_shape = bottom_shapes[1]
        if p.bias_term:
            self.add_weights(scale_shape, p.bias_filler)
        keeps = self.runs_in_place  # the scale's diff needs the bottom
        self.reads = () if self.learned or keeps else ("bottom",)
        self.param_reads = ("bottom",) if self.learned and not keeps else ()

    def _weight_shape(self, bottom: Shape) -> Shape:
        p = self.param.scale_param
        if p.num_axes < -1:
            raise self.error(f"num_axes: {p.num_axes} must be at least 0, or -1 for all axes from `axis` on")
        axis = self.canonical_axis(p.axis, bottom) if p.num_axes != 0 else 0
        end = len(bottom) if p.num_axes == -1 else axis + p.num_axes
        if end > len(bottom):
            raise self.error(f"num_axes: {p.num_axes} from axis {axis} on goes beyond bottom shape {bottom}")
        return bottom[axis:end]

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        bottom = bottom_shapes[0]
        scale = self.blobs[0].shape if self.learned else bottom_shapes[1]
        axis = self.canonical_axis(self.param.scale_param.axis, bottom) if scale else 0
        end = axis + len(scale)
        if bottom[axis:end] != scale:
            raise self.error(f"bottom shape {bottom} must be {scale}, the scale's shape, from axis {axis} on")
        if self.param.scale_param.bias_term and self.blobs[-1].shape != scale:
            raise self.error(f"bottom 1, the scale, has shape {scale}, but the bias {self.blobs[-1].shape}; keep it")
        self.extent = math.prod(bottom[:axis]), math.prod(scale), math.prod(bottom[end:])
        if self.runs_in_place:
            self.kept: State = self.state("bottom", bottom)
        return [bottom]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        bias = self.params[-1].data if self.param.scale_param.bias_term else None
        kept = self.kept.array if self.runs_in_place else None
        scale_forward(bottom[0].data, self._scale(bottom).data, bias, *self.extent, kept, top[0].data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        data = self.kept.array if self.runs_in_place else bottom[0].data
        scale, top_diff = self._scale(bottom), top[0].diff
        if self.param.scale_param.bias_term and self.param_propagate_down[-1]:
            scale_backward_bias(top_diff, *self.extent, self.params[-1].diff)
        if self.learned and self.param_propagate_down[0]:
            scale_backward_weights(data, top_diff, *self.extent, scale.diff, accumulate=True)
        if not self.learned and propagate_down[1]:
            scale_backward_weights(data, top_diff, *self.extent, scale.diff, accumulate=False)
        if propagate_down[0]:
            scale_backward(top_diff, scale.data, *self.extent, bottom[0].diff)

    def _scale(self, bottom: Sequence[Arrays]) -> Arrays:
        return self.params[0] if self.learned else bottom[1]


@kernel("scale.cu", per="top_data", each=4)
def scale_forward(
    bottom_data: Floats,
    scale_data: Floats,
    bias_data: Floats | None,
    outer: int,
    channels: int,
    inner: int,
    kept: Floats | None,
    top_data: Floats,
) -> None:
    """kept = bottom; top[o, c, i] = bottom[o, c, i] * scale[c] + bias[c]; top may be bottom"""
    x, y = bottom_data.reshape(outer, channels, inner), top_data.reshape(outer, channels, inner)
    scale = scale_data.reshape(channels, 1)
    for part in channel_blocks(outer, channels, inner):
        if kept is not None:
            kept.reshape(outer, channels, inner)[part] = x[part]
        np.multiply(x[part], scale[part[1]], out=y[part])
        if bias_data is not None:
            y[part] += bias_data.reshape(channels, 1)[part[1]]


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


@kernel("scale.cu", rows="bias_diff", threads=1024)
def scale_backward_bias(top_diff: Floats, outer: int, channels: int, inner: int, bias_diff: Floats) -> None:
    """bias_diff[c] += sum over o, i of top_diff[o, c, i]"""
    diff = bias_diff.reshape(channels)
    diff += channel_sums(top_diff.reshape(outer, channels, inner))
