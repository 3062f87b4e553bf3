"""TanH: the hyperbolic tangent."""

import numpy as np

from caffepy.blob import Floats
from caffepy.kernels import kernel
from caffepy.layer import register
from caffepy.layers.basis.elementwise import BLOCK, Elementwise, blocks


@register("TanH", bottoms=1, tops=1)
class TanH(Elementwise):
    """Any shape -> the same; top = tanh(bottom)."""

    reads = ("top",)

    def value(self, bottom_data: Floats, top_data: Floats) -> None:
        tanh_forward(bottom_data, top_data)

    def derivative(self, bottom_data: Floats, top_data: Floats, top_diff: Floats, bottom_diff: Floats) -> None:
        tanh_backward(top_data, top_diff, bottom_diff)


@kernel("elementwise.cu", per="top_data", each=4)
def tanh_forward(bottom_data: Floats, top_data: Floats) -> None:
    """top = tanh(bottom)"""
    np.tanh(bottom_data, out=top_data)


@kernel("elementwise.cu", per="bottom_diff", each=4)
def tanh_backward(top_data: Floats, top_diff: Floats, bottom_diff: Floats) -> None:
    """bottom_diff = top_diff * (1 - top^2)"""
    slope = np.empty(min(BLOCK, top_data.size), np.float32)
    for y, dy, dx in blocks(top_data, top_diff, bottom_diff):
        part = np.square(y, out=slope[: y.size])
        np.subtract(1, part, out=part)
        np.multiply(dy, part, out=dx)
