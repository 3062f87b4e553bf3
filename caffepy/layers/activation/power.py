"""Power: shift, scale and raise to a power."""

from collections.abc import Sequence

import numpy as np

from caffepy.blob import Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import register
from caffepy.layers.basis.elementwise import BLOCK, Elementwise, blocks


@register("Power", bottoms=1, tops=1)
class Power(Elementwise):
    """Any shape -> the same; top = (shift + scale * bottom) ^ power (Caffe: power_layer.cpp)."""

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.power_param
        self.power, self.scale, self.shift = p.power, p.scale, p.shift
        self.reads = () if self.power in (0, 1) or self.scale == 0 else ("bottom",)
        super().setup(bottom_shapes)

    def value(self, bottom_data: Floats, top_data: Floats) -> None:
        power_forward(bottom_data, top_data, power=self.power, scale=self.scale, shift=self.shift)

    def derivative(self, bottom_data: Floats, top_data: Floats, top_diff: Floats, bottom_diff: Floats) -> None:
        power_backward(bottom_data, top_diff, bottom_diff, power=self.power, scale=self.scale, shift=self.shift)


@kernel("power.cu", per="top_data", each=4)
def power_forward(bottom_data: Floats, top_data: Floats, *, power: float, scale: float, shift: float) -> None:
    """top = (shift + scale * bottom) ^ power"""
    for x, y in blocks(bottom_data, top_data):
        _raised(x, y, power, scale, shift)


@kernel("power.cu", per="bottom_diff", each=4)
def power_backward(
    bottom_data: Floats, top_diff: Floats, bottom_diff: Floats, *, power: float, scale: float, shift: float
) -> None:
    """bottom_diff = top_diff * power * scale * (shift + scale * bottom) ^ (power - 1)"""
    if power in (0, 1) or scale == 0:
        np.multiply(top_diff, np.float32(power * scale), out=bottom_diff)
        return
    slope = np.empty(min(BLOCK, bottom_data.size), np.float32)
    for x, dy, dx in blocks(bottom_data, top_diff, bottom_diff):
        part = slope[: x.size]
        _raised(x, part, power - 1, scale, shift)
        part *= np.float32(power * scale)
        np.multiply(dy, part, out=dx)


def _raised(x: Floats, y: Floats, power: float, scale: float, shift: float) -> None:
    """y = (shift + scale * x) ^ power; 1 where power is 0."""
    np.multiply(x, np.float32(scale), out=y)
    y += np.float32(shift)
    if power == 2:
        np.square(y, out=y)
    elif power != 1:
        np.power(y, np.float32(power), out=y)
