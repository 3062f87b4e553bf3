"""Softmax: scores along an axis to probabilities."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import Layer, register
from caffepy.layers.activation.softmax_plan import softmax_backward_plan, softmax_forward_plan
from caffepy.layers.basis.elementwise import BLOCK

RUN = 4096
"""Contiguous elements below which NumPy's cost per run outweighs what the cache gains."""


@register("Softmax", bottoms=1, tops=1)
class Softmax(Layer):
    """Any shape -> the same; top = exp(bottom) / sum of exp(bottom) along `axis`. Runs in place."""

    in_place = True
    reads = ("top",)

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        bottom = bottom_shapes[0]
        axis = self.canonical_axis(self.param.softmax_param.axis, bottom)
        self.row_bottoms = (0,) if axis else ()
        self.extent = math.prod(bottom[:axis]), bottom[axis], math.prod(bottom[axis + 1 :])
        return [bottom]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        softmax_forward(bottom[0].data, *self.extent, top[0].data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if propagate_down[0]:
            softmax_backward(top[0].data, top[0].diff, *self.extent, bottom[0].diff)


@kernel("softmax.cu", plan=softmax_forward_plan)
def softmax_forward(bottom_data: Floats, outer: int, channels: int, inner: int, top_data: Floats) -> None:
    """top[o, c, i] = exp(bottom[o, c, i] - m) / sum over c of the same, m = max over c of bottom[o, c, i]"""
    if not channels:
        return
    x, y = bottom_data.reshape(outer, channels, inner), top_data.reshape(outer, channels, inner)
    for part in _columns(outer, channels, inner):
        exponentials = y[part]
        np.subtract(x[part], x[part].max(axis=1, keepdims=True), out=exponentials)
        np.exp(exponentials, out=exponentials)
        exponentials /= exponentials.sum(axis=1, keepdims=True)


@kernel("softmax.cu", plan=softmax_backward_plan)
def softmax_backward(
    top_data: Floats, top_diff: Floats, outer: int, channels: int, inner: int, bottom_diff: Floats
) -> None:
    """bottom_diff[o, c, i] = (top_diff[o, c, i] - sum over c of top_diff * top) * top[o, c, i]"""
    shape = outer, channels, inner
    y, dy, dx = top_data.reshape(shape), top_diff.reshape(shape), bottom_diff.reshape(shape)
    for part in _columns(*shape):
        along = np.einsum("oci,oci->oi", dy[part], y[part])
        np.subtract(dy[part], along[:, None], out=dx[part])
        dx[part] *= y[part]


def _columns(outer: int, channels: int, inner: int) -> Iterator[tuple[slice, slice, slice]]:
    """Parts of about BLOCK elements, each with all channels; along inner at least RUN, if there are so many."""
    step = max(RUN, BLOCK // max(1, channels))
    outers = max(1, BLOCK // max(1, channels * inner))
    for o in range(0, outer, outers):
        for i in range(0, inner, step):
            yield slice(o, o + outers), slice(None), slice(i, i + step)
