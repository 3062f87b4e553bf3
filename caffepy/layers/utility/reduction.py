"""Reduction: the last axes to one number."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import Launch, kernel
from caffepy.layer import Layer, register
from caffepy.layers.basis.row_plan import block_per_row, block_per_share, shares_of
from caffepy.proto.caffe_pb2 import ReductionParameter as Op

MOST_THREADS = 1024


@register("Reduction", bottoms=1, tops=1)
class Reduction(Layer):
    """(a..., b...), cut at `axis` -> (a...); top = coeff * the sum over b..., of the values (SUM), of their sizes
    (ASUM) or of their squares (SUMSQ), or coeff * their mean (MEAN) (Caffe: reduction_layer.cpp)."""

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.kind = self.param.reduction_param.operation
        self.reads = ("bottom",) if self.kind in (Op.ASUM, Op.SUMSQ) else ()

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        bottom, p = bottom_shapes[0], self.param.reduction_param
        axis = self.canonical_axis(p.axis, bottom) if bottom else 0
        self.length = math.prod(bottom[axis:])
        self.coeff = p.coeff / max(self.length, 1) if self.kind == Op.MEAN else p.coeff
        rows = math.prod(bottom[:axis])
        shares = shares_of(rows, self.length)
        self.reserve_workspace(rows * shares if shares > 1 else 0)
        return [bottom[:axis]]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        reduction_forward(bottom[0].data, self.length, self.coeff, self.workspace, top[0].data, kind=self.kind)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if propagate_down[0]:
            data, diffs = bottom[0].data, (top[0].diff, bottom[0].diff)
            reduction_backward(data, diffs[0], self.length, self.coeff, diffs[1], kind=self.kind)


def _forward_plan(
    bottom_data: Any, length: int, coeff: float, workspace: Any, top_data: Any, *, kind: int
) -> list[Launch]:
    rows, shares = top_data.size, shares_of(top_data.size, length)
    if shares == 1:
        names = "bottom_data", "length", "coeff", "top_data"
        return block_per_row("reduction_forward", names, rows, length, most_threads=MOST_THREADS)
    return [
        *block_per_share("reduction_parts", ("bottom_data", "length", "workspace"), rows, shares),
        *block_per_row("reduction_finish", ("workspace", "coeff", "top_data", shares), rows, shares),
    ]


@kernel("reduction.cu", plan=_forward_plan)
def reduction_forward(
    bottom_data: Floats, length: int, coeff: float, workspace: Floats, top_data: Floats, *, kind: int
) -> None:
    """top[r] = coeff * sum over i of bottom[r, i]; ASUM: of |bottom|; SUMSQ: of bottom^2"""
    rows, top = bottom_data.reshape(top_data.size, length), top_data.reshape(-1)
    if kind == Op.SUMSQ:
        np.einsum("ri,ri->r", rows, rows, out=top)
    else:
        np.sum(np.abs(rows) if kind == Op.ASUM else rows, axis=1, out=top)
    top *= np.float32(coeff)


@kernel("reduction.cu", per="bottom_diff")
def reduction_backward(
    bottom_data: Floats, top_diff: Floats, length: int, coeff: float, bottom_diff: Floats, *, kind: int
) -> None:
    """bottom_diff[r, i] = coeff * top_diff[r]; ASUM: * sign(bottom); SUMSQ: * 2 * bottom"""
    shape = top_diff.size, length
    x, dx = bottom_data.reshape(shape), bottom_diff.reshape(shape)
    factor = top_diff.reshape(-1, 1) * np.float32(coeff)
    if kind == Op.SUMSQ:
        np.multiply(x, 2 * factor, out=dx)
    elif kind == Op.ASUM:
        np.multiply(np.sign(x), factor, out=dx)
    else:
        dx[...] = factor
