"""Normalize: every place's channels to length 1, then times a learned scale."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import Layer, State, register
from caffepy.layers.basis.channelwise import channel_products
from caffepy.proto.caffe_pb2 import FillerParameter

EPS_OF_LENGTHS = 1e-6
"""What caffe-windows adds to the sum."""


@dataclass(frozen=True)
class How:
    """What the operations are compiled for."""

    across: bool
    """One length for an item, not for each place."""
    shared: bool
    """One scale, not one for each channel."""
    eps: float
    """Added to the sum."""
    absolute: bool = False
    """The length is the sum of absolute values, not the root of that of squares."""


@register("Normalize", bottoms=1, tops=(1, 2))
class Normalize(Layer):
    """(n, c, ...) -> the same; top = scale * bottom / sqrt(sum of bottom^2 + eps) (Liu et al. 2015: ParseNet, SSD).

    The sum is over the channels, or over an item's channels and places if `across_spatial`. Weight: scale (c), or one
    number () if `channel_shared`.

    With normalize_param or a second top, as caffe-windows: no scale and no weight, each place's channels are divided by
    their length sqrt(sum of bottom^2 + 1e-6), or with normalize_type L1 sum of |bottom| + 1e-6. The second top (n, 1,
    ...) is the lengths; its diff goes down only with bp_norm.
    """

    reads = ("bottom",)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        if len(bottom_shapes[0]) < 2:
            raise self.error(f"the bottom must have 2 axes at least, items and channels, got shape {bottom_shapes[0]}")
        if self.param.HasField("normalize_param") or len(self.param.top) == 2:
            self.how = self._without_scale()
            return
        p = self.param.norm_param
        self.how = How(p.across_spatial, p.channel_shared, p.eps)
        self.add_weights(
            () if self.how.shared else bottom_shapes[0][1:2],
            p.scale_filler if p.HasField("scale_filler") else FillerParameter(value=1),
        )

    def _without_scale(self) -> How:
        if self.param.HasField("norm_param"):
            raise self.error("norm_param is of SSD, normalize_param and a second top are of caffe-windows; drop either")
        kind = self.param.normalize_param.normalize_type
        if kind not in ("L1", "L2"):
            raise self.error(f"normalize_type: {kind!r} must be L1 or L2")
        return How(False, True, EPS_OF_LENGTHS, kind == "L1")

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        bottom = bottom_shapes[0]
        if not self.how.shared and bottom[1:2] != self.blobs[0].shape:
            raise self.error(f"bottom shape {bottom} must keep the {self.blobs[0].count} channels of the scale")
        self.extent = bottom[0], bottom[1], math.prod(bottom[2:])
        sums = (bottom[0],) if self.how.across else (bottom[0], self.extent[2])
        self.sums: State = self.state("sums", sums)
        self.along: State = self.state("along", sums)
        return [bottom, (bottom[0], 1, *bottom[2:])][: len(self.param.top)]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        how, extent, data, sums = self.how, self.extent, bottom[0].data, self.sums.array
        normalize_sums(data, None if how.absolute else data, None, *extent, sums, how=how)
        normalize_forward(data, sums, self._scale, *extent, top[0].data, how=how)
        for lengths in top[1:]:
            normalize_lengths(sums, lengths.data, how=how)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        how, extent, data, top_diff = self.how, self.extent, bottom[0].data, top[0].diff
        sums, along = self.sums.array, self.along.array
        if self.blobs and self.param_propagate_down[0]:
            normalize_backward_weights(data, top_diff, sums, *extent, self.params[0].diff, how=how)
        if propagate_down[0]:
            goes_down = len(top) == 2 and self.param.normalize_param.bp_norm
            lengths_diff = top[1].diff if goes_down else None
            scale, diff = self._scale, bottom[0].diff
            normalize_sums(data, top_diff, scale, *extent, along, how=how)
            normalize_backward(data, top_diff, sums, along, scale, lengths_diff, *extent, diff, how=how)

    @property
    def _scale(self) -> Floats | None:
        scale: Floats | None = self.params[0].data if self.blobs else None
        return scale


@kernel("normalize.cu", rows="sums", threads=128)
def normalize_sums(
    first_data: Floats,
    second_data: Floats | None,
    scale_data: Floats | None,
    num: int,
    channels: int,
    inner: int,
    sums: Floats,
    *,
    how: How,
) -> None:
    """sums[n, i] = sum over c of first[n, c, i] * second[n, c, i] * scale[c], over i too with `across`; without a
    second of |first[n, c, i]|"""
    first = first_data.reshape(num, channels, inner)
    second = np.sign(first) if second_data is None else second_data.reshape(first.shape)
    scale = _scales(scale_data, channels)
    np.copyto(sums, np.einsum("nci,nci,c->n" if how.across else "nci,nci,c->ni", first, second, scale))


@kernel("normalize.cu", per="lengths_data")
def normalize_lengths(sums: Floats, lengths_data: Floats, *, how: How) -> None:
    """lengths = l(sums) = sqrt(sums + eps), or with `absolute` sums + eps"""
    np.copyto(lengths_data, _lengths(sums, len(sums), how).reshape(lengths_data.shape))


@kernel("normalize.cu", per="top_data")
def normalize_forward(
    bottom_data: Floats,
    sums: Floats,
    scale_data: Floats | None,
    num: int,
    channels: int,
    inner: int,
    top_data: Floats,
    *,
    how: How,
) -> None:
    """top[n, c, i] = bottom[n, c, i] / l(sums[n, i]) * scale[c]"""
    top = top_data.reshape(num, channels, inner)
    np.divide(bottom_data.reshape(top.shape), _lengths(sums, num, how), out=top)
    top *= _scales(scale_data, channels)[:, None]


@kernel("normalize.cu", per="bottom_diff")
def normalize_backward(
    bottom_data: Floats,
    top_diff: Floats,
    sums: Floats,
    along: Floats,
    scale_data: Floats | None,
    lengths_diff: Floats | None,
    num: int,
    channels: int,
    inner: int,
    bottom_diff: Floats,
    *,
    how: How,
) -> None:
    """bottom_diff = top_diff[n, c, i] * scale[c] / l + d * (lengths_diff[n, i] - along[n, i] / l^2), l the bottom's
    length and d its derivative, bottom[n, c, i] / l, or the sign of bottom[n, c, i] with `absolute`"""
    x, dy = (array.reshape(num, channels, inner) for array in (bottom_data, top_diff))
    length = _lengths(sums, num, how)
    of_length = -along.reshape(length.shape) / length**2
    if lengths_diff is not None:
        of_length += lengths_diff.reshape(length.shape)
    diff = np.multiply(np.sign(x) if how.absolute else x / length, of_length, out=bottom_diff.reshape(x.shape))
    diff += dy * _scales(scale_data, channels)[:, None] / length


@kernel("normalize.cu", rows="scale_diff")
def normalize_backward_weights(
    bottom_data: Floats,
    top_diff: Floats,
    sums: Floats,
    num: int,
    channels: int,
    inner: int,
    scale_diff: Floats,
    *,
    how: How,
) -> None:
    """scale_diff[c] += sum over n, i of top_diff[n, c, i] * bottom[n, c, i] / l(sums[n, i])"""
    x, dy = (array.reshape(num, channels, inner) for array in (bottom_data, top_diff))
    of_channels = channel_products(x / _lengths(sums, num, how), dy)
    scale_diff += of_channels.sum() if how.shared else of_channels


def _lengths(sums: Floats, num: int, how: How) -> Floats:
    """(num, 1, 1 or inner)"""
    length = sums + np.float32(how.eps)
    root: Floats = length if how.absolute else np.sqrt(length)
    return root.reshape(num, 1, root.size // num if num else 1)


def _scales(scale_data: Floats | None, channels: int) -> Floats:
    """(channels); 1 if there are none"""
    return np.broadcast_to(np.float32(1) if scale_data is None else scale_data.reshape(-1), (channels,))
