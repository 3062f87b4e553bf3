"""PReLU: ReLU whose slope below zero is learned."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import Launch, kernel
from caffepy.layer import Layer, State, register
from caffepy.layers.basis.channelwise import channel_blocks, channel_products
from caffepy.layers.basis.row_plan import block_per_row, block_per_share, shares_of
from caffepy.proto.caffe_pb2 import FillerParameter


@register("PReLU", bottoms=1, tops=1)
class PReLU(Layer):
    """bottom (n, c, ...) -> the same; top = max(bottom, 0) + slope[c] * min(bottom, 0) (He et al. 2015). In place too.

    Weights: slope (c), or one number where channel_shared; 0.25 unless a filler is given.
    """

    row_bottoms = (0,)
    in_place = True
    param_diffs_later = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p, bottom = self.param.prelu_param, bottom_shapes[0]
        if len(bottom) < 2:
            raise self.error(f"bottom {self.param.bottom[0]!r} must have 2 axes at least, got shape {bottom}")
        slope_shape = () if p.channel_shared else (bottom[1],)
        self.add_weights(slope_shape, p.filler if p.HasField("filler") else FillerParameter(value=0.25))
        self.reads = self.param_reads = () if self.runs_in_place else ("bottom",)

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        bottom, slope = bottom_shapes[0], self.blobs[0].shape
        if len(bottom) < 2 or (slope and slope != (bottom[1],)):
            raise self.error(
                f"bottom {self.param.bottom[0]!r} has shape {bottom}; the slopes {slope} are one for each of its "
                "channels, in axis 1"
            )
        channels = bottom[1] if slope else 1
        self.extent = bottom[0], channels, math.prod(bottom[1:]) // max(channels, 1)
        self.reserve_workspace(channels * shares_of(channels, bottom[0] * self.extent[2]))
        if self.runs_in_place:
            self.kept: State = self.state("bottom", bottom)
        return [bottom]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        kept = self.kept.array if self.runs_in_place else None
        prelu_forward(bottom[0].data, self.params[0].data, *self.extent, kept, top[0].data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        data = self.kept.array if self.runs_in_place else bottom[0].data
        slope, top_diff = self.params[0], top[0].diff
        if self.param_propagate_down[0]:
            prelu_backward_weights(data, top_diff, *self.extent, self.workspace, slope.diff)
        if propagate_down[0]:
            prelu_backward(data, top_diff, slope.data, *self.extent, bottom[0].diff)


@kernel("prelu.cu", per="top_data", each=4)
def prelu_forward(
    bottom_data: Floats,
    slope_data: Floats,
    num: int,
    channels: int,
    inner: int,
    kept: Floats | None,
    top_data: Floats,
) -> None:
    """kept = bottom; top[n, c, i] = max(bottom[n, c, i], 0) + slope[c] * min(bottom[n, c, i], 0); top may be bottom"""
    shape = num, channels, inner
    x, y, slope = bottom_data.reshape(shape), top_data.reshape(shape), slope_data.reshape(channels, 1)
    for part in channel_blocks(*shape):
        if kept is not None:
            kept.reshape(shape)[part] = x[part]
        below = np.minimum(x[part], 0)
        below *= slope[part[1]]
        np.maximum(x[part], 0, out=y[part])
        y[part] += below


@kernel("prelu.cu", per="bottom_diff", each=4)
def prelu_backward(
    bottom_data: Floats,
    top_diff: Floats,
    slope_data: Floats,
    num: int,
    channels: int,
    inner: int,
    bottom_diff: Floats,
) -> None:
    """bottom_diff[n, c, i] = top_diff[n, c, i] * (1 if bottom[n, c, i] > 0 else slope[c])"""
    shape = num, channels, inner
    x, dy, dx = bottom_data.reshape(shape), top_diff.reshape(shape), bottom_diff.reshape(shape)
    slope = slope_data.reshape(channels, 1)
    for part in channel_blocks(*shape):
        factor = (x[part] > 0).astype(np.float32)
        factor *= 1 - slope[part[1]]
        factor += slope[part[1]]
        np.multiply(dy[part], factor, out=dx[part])


def _weights_plan(
    bottom_data: Any, top_diff: Any, num: int, channels: int, inner: int, workspace: Any, slope_diff: Any
) -> list[Launch]:
    shares = shares_of(channels, num * inner)
    names = "bottom_data", "top_diff", "num", "channels", "inner", "workspace"
    return [
        *block_per_share("prelu_parts", names, channels, shares),
        *block_per_row("prelu_backward_weights", ("workspace", "slope_diff", shares), channels, shares),
    ]


@kernel("prelu.cu", plan=_weights_plan)
def prelu_backward_weights(
    bottom_data: Floats, top_diff: Floats, num: int, channels: int, inner: int, workspace: Floats, slope_diff: Floats
) -> None:
    """slope_diff[c] += sum over n, i of top_diff[n, c, i] * min(bottom[n, c, i], 0)"""
    x, dy = bottom_data.reshape(num, channels, inner), top_diff.reshape(num, channels, inner)
    diff = slope_diff.reshape(channels)
    for part in channel_blocks(num, channels, inner):
        diff[part[1]] += channel_products(np.minimum(x[part], 0), dy[part])
