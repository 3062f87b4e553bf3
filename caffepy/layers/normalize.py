"""Normalize: every place's channels to length 1, then times a learned scale."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import Layer, State, register
from caffepy.layers.channelwise import channel_products
from caffepy.proto.caffe_pb2 import FillerParameter


@dataclass(frozen=True)
class How:
    """What the operations are compiled for."""

    across: bool
    """One length for an item, not for each place."""
    shared: bool
    """One scale, not one for each channel."""
    eps: float


@register("Normalize", bottoms=1, tops=1)
class Normalize(Layer):
    """(n, c, ...) -> the same; top = scale * bottom / sqrt(sum of bottom^2 + eps) (Liu et al. 2015: ParseNet, SSD).

    The sum is over the channels, or over an item's channels and places if `across_spatial`. Weight: scale (c), or one
    number () if `channel_shared`.
    """

    reads = ("bottom",)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        if self.param.HasField("normalize_param"):
            raise self.error("normalize_param, of caffe-windows, is not known; give norm_param, as SSD does")
        p = self.param.norm_param
        self.how = How(p.across_spatial, p.channel_shared, p.eps)
        if len(bottom_shapes[0]) < 2:
            raise self.error(f"the bottom must have 2 axes at least, items and channels, got shape {bottom_shapes[0]}")
        self.add_weights(
            () if self.how.shared else bottom_shapes[0][1:2],
            p.scale_filler if p.HasField("scale_filler") else FillerParameter(value=1),
        )

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        bottom = bottom_shapes[0]
        if not self.how.shared and bottom[1:2] != self.blobs[0].shape:
            raise self.error(f"bottom shape {bottom} must keep the {self.blobs[0].count} channels of the scale")
        self.extent = bottom[0], bottom[1], math.prod(bottom[2:])
        sums = (bottom[0],) if self.how.across else (bottom[0], self.extent[2])
        self.squares: State = self.state("squares", sums)
        self.along: State = self.state("along", sums)
        return [bottom]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        how, extent, data, squares = self.how, self.extent, bottom[0].data, self.squares.array
        normalize_sums(data, data, None, *extent, squares, how=how)
        normalize_forward(data, squares, self.params[0].data, *extent, top[0].data, how=how)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        how, extent, data, top_diff, scale = self.how, self.extent, bottom[0].data, top[0].diff, self.params[0]
        squares, along = self.squares.array, self.along.array
        if self.param_propagate_down[0]:
            normalize_backward_weights(data, top_diff, squares, *extent, scale.diff, how=how)
        if propagate_down[0]:
            normalize_sums(data, top_diff, scale.data, *extent, along, how=how)
            normalize_backward(data, top_diff, squares, along, scale.data, *extent, bottom[0].diff, how=how)


@kernel("normalize.cu", rows="sums", threads=128)
def normalize_sums(
    first_data: Floats,
    second_data: Floats,
    scale_data: Floats | None,
    num: int,
    channels: int,
    inner: int,
    sums: Floats,
    *,
    how: How,
) -> None:
    """sums[n, i] = sum over c of first[n, c, i] * second[n, c, i] * scale[c], over i too with `across`"""
    first, second = (array.reshape(num, channels, inner) for array in (first_data, second_data))
    scale = np.ones(channels, np.float32) if scale_data is None else _scales(scale_data, channels)
    np.copyto(sums, np.einsum("nci,nci,c->n" if how.across else "nci,nci,c->ni", first, second, scale))


@kernel("normalize.cu", per="top_data")
def normalize_forward(
    bottom_data: Floats,
    squares: Floats,
    scale_data: Floats,
    num: int,
    channels: int,
    inner: int,
    top_data: Floats,
    *,
    how: How,
) -> None:
    """top[n, c, i] = bottom[n, c, i] / sqrt(squares[n, i] + eps) * scale[c]"""
    top = top_data.reshape(num, channels, inner)
    np.divide(bottom_data.reshape(top.shape), _lengths(squares, num, how), out=top)
    top *= _scales(scale_data, channels)[:, None]


@kernel("normalize.cu", per="bottom_diff")
def normalize_backward(
    bottom_data: Floats,
    top_diff: Floats,
    squares: Floats,
    along: Floats,
    scale_data: Floats,
    num: int,
    channels: int,
    inner: int,
    bottom_diff: Floats,
    *,
    how: How,
) -> None:
    """bottom_diff = (top_diff[n, c, i] * scale[c] - bottom[n, c, i] * along[n, i] / l^2) / l, l the bottom's length"""
    x, dy = (array.reshape(num, channels, inner) for array in (bottom_data, top_diff))
    length = _lengths(squares, num, how)
    diff = dy * _scales(scale_data, channels)[:, None] - x * (along.reshape(length.shape) / length**2)
    np.divide(diff, length, out=bottom_diff.reshape(x.shape))


@kernel("normalize.cu", rows="scale_diff")
def normalize_backward_weights(
    bottom_data: Floats,
    top_diff: Floats,
    squares: Floats,
    num: int,
    channels: int,
    inner: int,
    scale_diff: Floats,
    *,
    how: How,
) -> None:
    """scale_diff[c] += sum over n, i of top_diff[n, c, i] * bottom[n, c, i] / sqrt(squares[n, i] + eps)"""
    x, dy = (array.reshape(num, channels, inner) for array in (bottom_data, top_diff))
    of_channels = channel_products(x / _lengths(squares, num, how), dy)
    scale_diff += of_channels.sum() if how.shared else of_channels


def _lengths(squares: Floats, num: int, how: How) -> Floats:
    """(num, 1, 1 or inner)"""
    length: Floats = np.sqrt(squares + np.float32(how.eps)).reshape(num, 1, -1)
    return length


def _scales(scale_data: Floats, channels: int) -> Floats:
    """(channels)"""
    return np.broadcast_to(scale_data.reshape(-1), (channels,))
