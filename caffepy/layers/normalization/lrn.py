"""LRN: every value divided by a power of the squares around it."""

import math
from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import Layer, State, register
from caffepy.layers.normalization import lrn_plan
from caffepy.limits import ENTRY
from caffepy.proto.caffe_pb2 import LRNParameter


@register("LRN", bottoms=1, tops=1)
class LRN(Layer):
    """bottom (n, c, h, w) -> top, same shape: top = bottom / scale^beta (Krizhevsky, Sutskever & Hinton 2012).

    ACROSS_CHANNELS: scale = k + alpha / local_size * sum of bottom^2 over local_size channels around;
    WITHIN_CHANNEL: scale = 1 + alpha / local_size^2 * sum of bottom^2 over local_size x local_size pixels around,
    whatever k is. Outside there are zeros (Caffe: lrn_layer.cpp).
    """

    row_bottoms = (0,)
    reads = ("bottom",)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.lrn_param
        if p.local_size % 2 == 0:
            raise self.error(f"local_size must be odd, so that it has a centre, got {p.local_size}")
        self.within = p.norm_region == LRNParameter.WITHIN_CHANNEL
        self.local_size, self.alpha, self.beta, self.k = p.local_size, p.alpha, p.beta, 1.0 if self.within else p.k

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        num, channels, height, width = self.expect_axes(bottom_shapes, 0, 4)
        self.extent = channels, height, width
        self.scale: State = self.state("scale", bottom_shapes[0])
        around = self.local_size - 1
        self.reserve_work((2 if self.within else 1) * self.local_size * (math.prod(bottom_shapes[0]) + ENTRY))
        if self.within:
            padded = channels * ((height + around) * (width + around) + (height + around) * width)
        else:
            padded = (channels + around) * height * width
        one_image = channels * height * width
        self.reserve_workspace(max(padded + one_image, num * one_image if self.within else 0))  # on a CPU, on a GPU
        return [bottom_shapes[0]]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        lrn_forward(
            bottom[0].data,
            *self.extent,
            self.workspace,
            self.scale.array,
            top[0].data,
            local_size=self.local_size,
            alpha=self.alpha,
            beta=self.beta,
            k=self.k,
            within=self.within,
        )

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if propagate_down[0]:
            lrn_backward(
                bottom[0].data,
                self.scale.array,
                top[0].diff,
                *self.extent,
                self.workspace,
                bottom[0].diff,
                local_size=self.local_size,
                alpha=self.alpha,
                beta=self.beta,
                within=self.within,
            )


@kernel("lrn.cu", plan=lrn_plan.forward)
def lrn_forward(
    bottom_data: Floats,
    channels: int,
    height: int,
    width: int,
    workspace: Floats,
    scale: Floats,
    top_data: Floats,
    *,
    local_size: int,
    alpha: float,
    beta: float,
    k: float,
    within: bool,
) -> None:
    """scale = k + alpha / n * sum of bottom^2 around, n how many there are; top = bottom / scale^beta"""
    shape = bottom_data.shape[0], channels, height, width
    images = (array.reshape(shape) for array in (bottom_data, scale, top_data))
    around = _Around(channels, height, width, local_size, within, workspace)
    for x, s, y in zip(*images, strict=True):
        np.multiply(x, x, out=around.values)
        around.sum(s)
        s *= np.float32(alpha / around.count)
        s += np.float32(k)
        _power(s, beta, y, around.spare)
        np.divide(x, y, out=y)


@kernel("lrn.cu", plan=lrn_plan.backward)
def lrn_backward(
    bottom_data: Floats,
    scale: Floats,
    top_diff: Floats,
    channels: int,
    height: int,
    width: int,
    workspace: Floats,
    bottom_diff: Floats,
    *,
    local_size: int,
    alpha: float,
    beta: float,
    within: bool,
) -> None:
    """bottom_diff =
    top_diff / scale^beta - 2 alpha beta / n * bottom * sum around of top_diff bottom / scale^(beta+1)
    """
    shape = bottom_data.shape[0], channels, height, width
    images = (array.reshape(shape) for array in (bottom_data, scale, top_diff, bottom_diff))
    around = _Around(channels, height, width, local_size, within, workspace)
    for x, s, dy, dx in zip(*images, strict=True):
        _power(s, beta, dx, around.spare)
        np.divide(dy, dx, out=dx)
        np.multiply(dx, x, out=around.values)
        around.values /= s
        total = around.spare
        around.sum(total)
        total *= x
        total *= np.float32(2 * alpha * beta / around.count)
        dx -= total


class _Around:
    """Sums over the channels or the pixels around, for one image; `values` are summed, `spare` is free memory."""

    def __init__(self, channels: int, height: int, width: int, local_size: int, within: bool, workspace: Floats):
        pad = local_size // 2
        self._size, self._within = local_size, within
        self.count = local_size**2 if within else local_size
        shape = (channels, height + 2 * pad, width + 2 * pad) if within else (channels + 2 * pad, height, width)
        inner = np.s_[:, pad : pad + height, pad : pad + width] if within else np.s_[pad : pad + channels]
        size = channels * height * width
        self.spare = workspace[:size].reshape(channels, height, width)
        self._padded = workspace[size : size + math.prod(shape)].reshape(shape)
        self._padded[...] = 0
        self.values = self._padded[inner]
        rows = workspace[size + self._padded.size :]
        self._rows = rows[: channels * shape[1] * width].reshape(channels, shape[1], width) if within else rows

    def sum(self, out: Floats) -> None:
        """out = sum of the values around, itself included"""
        if not self._within:
            _sum_runs(self._padded, self._size, out, axis=0)
        else:
            _sum_runs(self._padded, self._size, self._rows, axis=2)
            _sum_runs(self._rows, self._size, out, axis=1)


def _sum_runs(source: Floats, size: int, out: Floats, axis: int) -> None:
    """out[i] = source[i] + ... + source[i + size - 1] along the axis"""
    extent = out.shape[axis]
    runs = [source[(slice(None),) * axis + (slice(i, i + extent),)] for i in range(size)]
    np.copyto(out, runs[0])
    for run in runs[1:]:
        out += run


def _power(base: Floats, exponent: float, out: Floats, spare: Floats) -> None:
    """out = base^exponent; three quarters, the usual exponent, by two square roots"""
    if exponent == 0.75:
        np.sqrt(base, out=out)
        np.sqrt(out, out=spare)
        out *= spare
    else:
        np.power(base, np.float32(exponent), out=out)
