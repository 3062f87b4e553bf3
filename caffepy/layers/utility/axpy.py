"""Axpy: a scaled blob added to another."""

import math
from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import Layer, register
from caffepy.layers.basis.elementwise import copy_backward
from caffepy.layers.common.scale import scale_backward, scale_backward_weights


@register("Axpy", bottoms=3, tops=1)
class Axpy(Layer):
    """scale (n, c, 1...), x (n, c, ...), y as x -> top as x; top = scale[n, c] * x + y (Hu et al. 2018: SENet)."""

    reads = ("bottom",)

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        scale, x, y = bottom_shapes
        if x != y:
            raise self.error(f"bottoms 1 and 2 must have one shape, got {x} and {y}")
        if scale[:2] != x[:2] or len(x) < 2 or math.prod(scale[2:]) != 1:
            raise self.error(f"bottom 0 has shape {scale}; give one value for each channel of {x}")
        self.extent = 1, math.prod(x[:2]), math.prod(x[2:])
        return [x]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        scale, x, y = (b.data for b in bottom)
        axpy_forward(scale, x, y, self.extent[2], top[0].data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        scale, x, y = bottom
        if propagate_down[0]:
            scale_backward_weights(x.data, top[0].diff, *self.extent, scale.diff, accumulate=False)
        if propagate_down[1]:
            scale_backward(top[0].diff, scale.data, *self.extent, x.diff)
        if propagate_down[2]:
            copy_backward(top[0].diff, y.diff)


@kernel("axpy.cu", per="top_data")
def axpy_forward(scale_data: Floats, x_data: Floats, y_data: Floats, inner: int, top_data: Floats) -> None:
    """top[k, i] = scale[k] * x[k, i] + y[k, i] for `inner` i"""
    if top_data.size:
        np.multiply(x_data.reshape(-1, inner), scale_data.reshape(-1, 1), out=top_data.reshape(-1, inner))
        top_data += y_data
