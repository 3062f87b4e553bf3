"""ChannelNorm: the length of the vector of channels."""

import math
from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import Layer, register

LEAST = 1e-9
"""Lengths are divided by with this added, so that zeros have derivative 0 (channel_norm_layer.cu)."""


@register("ChannelNorm", bottoms=1, tops=1)
class ChannelNorm(Layer):
    """(n, c, ...) -> (n, 1, ...); top = sqrt of the sum over c of bottom^2 (Ilg et al. 2017: FlowNet 2.0)."""

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        bottom = bottom_shapes[0]
        if len(bottom) < 2:
            raise self.error(f"bottom {self.param.bottom[0]!r} must have 2 axes at least, got shape {bottom}")
        self.sizes = bottom[1], math.prod(bottom[2:])
        return [(bottom[0], 1, *bottom[2:])]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        channel_norm_forward(bottom[0].data, *self.sizes, top[0].data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if propagate_down[0]:
            channel_norm_backward(bottom[0].data, top[0].data, top[0].diff, *self.sizes, bottom[0].diff)


@kernel("channel_norm.cu", per="top_data")
def channel_norm_forward(bottom_data: Floats, channels: int, inner: int, top_data: Floats) -> None:
    """top[n, i] = sqrt(sum over c of bottom[n, c, i]^2)"""
    x = bottom_data.reshape(top_data.size // inner, channels, inner)
    np.sqrt(np.einsum("nci,nci->ni", x, x), out=top_data.reshape(-1, inner))


@kernel("channel_norm.cu", per="bottom_diff")
def channel_norm_backward(
    bottom_data: Floats, top_data: Floats, top_diff: Floats, channels: int, inner: int, bottom_diff: Floats
) -> None:
    """bottom_diff[n, c, i] = top_diff[n, i] * bottom[n, c, i] / (top[n, i] + 1e-9)"""
    x = bottom_data.reshape(-1, channels, inner)
    rate = (top_diff / (top_data + np.float32(LEAST))).reshape(-1, 1, inner)
    np.multiply(x, rate, out=bottom_diff.reshape(x.shape))
