"""ArgMax: where the greatest values are."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import Launch, kernel
from caffepy.layer import Layer, register
from caffepy.layers.basis.row_plan import block_per_row


@register("ArgMax", bottoms=1, tops=1)
class ArgMax(Layer):
    """The places of the top_k greatest values, the greatest first; of equal ones the later first. It has no derivative.

    With `axis`: (..., c, ...) -> (..., top_k, ...), the places along it, or with out_max_val the values there.
    Without: (n, ...) -> (n, 1, top_k, 1...), 3 axes at least, the places in all of the rest; with out_max_val
    (n, 2, top_k, 1...), places and values (Caffe: argmax_layer.cpp).
    """

    reads = ()

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        p, bottom = self.param.argmax_param, bottom_shapes[0]
        if p.HasField("axis"):
            axis = self.canonical_axis(p.axis, bottom)
            outer, channels, inner = math.prod(bottom[:axis]), bottom[axis], math.prod(bottom[axis + 1 :])
            top = (*bottom[:axis], p.top_k, *bottom[axis + 1 :])
        elif bottom:
            outer, channels, inner = bottom[0], math.prod(bottom[1:]), 1
            top = (bottom[0], 1 + p.out_max_val, p.top_k, *(1 for _ in bottom[3:]))
        else:
            raise self.error(f"bottom {self.param.bottom[0]!r} must have 1 axis at least, got shape {bottom}")
        if not 1 <= p.top_k <= channels:
            raise self.error(f"top_k: {p.top_k} must be at least 1 and at most {channels}, the values to choose from")
        self.extent = outer, channels, inner, p.top_k
        self.places, self.values = not (p.HasField("axis") and p.out_max_val), p.out_max_val
        return [top]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        argmax_forward(bottom[0].data, *self.extent, top[0].data, places=self.places, values=self.values)

    def differentiable(self, bottom_index: int) -> bool:
        return False

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        """There is no derivative."""


def _plan(
    bottom_data: Any, outer: int, channels: int, inner: int, top_k: int, top_data: Any, *, places: bool, values: bool
) -> list[Launch]:
    names = ("bottom_data", "channels", "inner", "top_k", "top_data")
    return block_per_row("argmax_forward", names, outer * inner, channels)


@kernel("argmax.cu", plan=_plan)
def argmax_forward(
    bottom_data: Floats,
    outer: int,
    channels: int,
    inner: int,
    top_k: int,
    top_data: Floats,
    *,
    places: bool,
    values: bool,
) -> None:
    """top[o, 0, k, i] = the c of the k-th greatest bottom[o, c, i], if `places`; behind it, if `values`, the value

    Of equal values the one with the greater c comes first; NaN is greater than all.
    """
    x = bottom_data.reshape(outer, channels, inner)
    top = top_data.reshape(outer, places + values, top_k, inner)
    if top_k == 1:
        order = channels - 1 - np.argmax(x[:, ::-1], axis=1, keepdims=True)
    else:
        order = np.argsort(x, axis=1, kind="stable")[:, : -top_k - 1 : -1]
    if places:
        top[:, 0] = order
    if values:
        top[:, -1] = np.take_along_axis(x, order, axis=1)
