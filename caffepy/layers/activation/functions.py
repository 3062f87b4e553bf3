"""Functions of single values: AbsVal, Clip, Exp, Log, Threshold."""

import math
from collections.abc import Sequence

import numpy as np

from caffepy.blob import Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import register
from caffepy.layers.basis.elementwise import BLOCK, Elementwise, blocks

MOST_EXPONENT = math.log(float(np.finfo(np.float32).max))
"""Its exponential is the greatest float32."""


@register("AbsVal", bottoms=1, tops=1)
class AbsVal(Elementwise):
    """Any shape -> the same; top = |bottom|."""

    reads = ("bottom",)

    def value(self, bottom_data: Floats, top_data: Floats) -> None:
        absval_forward(bottom_data, top_data)

    def derivative(self, bottom_data: Floats, top_data: Floats, top_diff: Floats, bottom_diff: Floats) -> None:
        absval_backward(bottom_data, top_diff, bottom_diff)


@register("Clip", bottoms=1, tops=1)
class Clip(Elementwise):
    """Any shape -> the same; top = min(max(bottom, clip_param.min), clip_param.max)."""

    reads = ("bottom",)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.clip_param
        if not (p.HasField("min") and p.HasField("max")):
            raise self.error("give clip_param both min and max")
        self.lowest, self.highest = p.min, p.max
        if self.lowest > self.highest:
            raise self.error(f"min: {self.lowest:g} is above max: {self.highest:g}; swap them")
        super().setup(bottom_shapes)

    def value(self, bottom_data: Floats, top_data: Floats) -> None:
        clip_forward(bottom_data, top_data, lowest=self.lowest, highest=self.highest)

    def derivative(self, bottom_data: Floats, top_data: Floats, top_diff: Floats, bottom_diff: Floats) -> None:
        clip_backward(bottom_data, top_diff, bottom_diff, lowest=self.lowest, highest=self.highest)


@register("Exp", bottoms=1, tops=1)
class Exp(Elementwise):
    """Any shape -> the same; top = base ^ (shift + scale * bottom), where base -1 is e (Caffe: exp_layer.cpp)."""

    reads = ("top",)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.exp_param
        if p.base != -1 and p.base <= 0:
            raise self.error(f"base: {p.base:g} must be above 0, or -1 for e")
        log_base = 1.0 if p.base == -1 else math.log(p.base)
        if log_base * p.shift > MOST_EXPONENT:
            raise self.error(f"base ^ shift is beyond float32 with base {p.base:g} and shift {p.shift:g}; lower shift")
        self.rate, self.factor = log_base * p.scale, math.exp(log_base * p.shift)

    def value(self, bottom_data: Floats, top_data: Floats) -> None:
        exp_forward(bottom_data, top_data, rate=self.rate, factor=self.factor)

    def derivative(self, bottom_data: Floats, top_data: Floats, top_diff: Floats, bottom_diff: Floats) -> None:
        exp_backward(top_data, top_diff, bottom_diff, rate=self.rate, factor=self.factor)


@register("Log", bottoms=1, tops=1)
class Log(Elementwise):
    """Any shape -> the same; top = log of shift + scale * bottom to `base`, where -1 is e (Caffe: log_layer.cpp)."""

    reads = ("bottom",)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.log_param
        if p.base != -1 and (p.base <= 0 or p.base == 1):
            raise self.error(f"base: {p.base:g} must be above 0 and not 1, or -1 for e")
        self.factor = 1.0 if p.base == -1 else 1 / math.log(p.base)
        self.scale, self.shift = p.scale, p.shift
        super().setup(bottom_shapes)

    def value(self, bottom_data: Floats, top_data: Floats) -> None:
        log_forward(bottom_data, top_data, factor=self.factor, scale=self.scale, shift=self.shift)

    def derivative(self, bottom_data: Floats, top_data: Floats, top_diff: Floats, bottom_diff: Floats) -> None:
        log_backward(bottom_data, top_diff, bottom_diff, factor=self.factor, scale=self.scale, shift=self.shift)


@register("Threshold", bottoms=1, tops=1)
class Threshold(Elementwise):
    """Any shape -> the same; top = 1 where bottom > threshold, else 0. It has no derivative."""

    reads = ()

    def value(self, bottom_data: Floats, top_data: Floats) -> None:
        threshold_forward(bottom_data, top_data, threshold=self.param.threshold_param.threshold)

    def differentiable(self, bottom_index: int) -> bool:
        return False

    def derivative(self, bottom_data: Floats, top_data: Floats, top_diff: Floats, bottom_diff: Floats) -> None:
        """There is none."""


@kernel("elementwise.cu", per="top_data", each=4)
def absval_forward(bottom_data: Floats, top_data: Floats) -> None:
    """top = |bottom|"""
    np.abs(bottom_data, out=top_data)


@kernel("elementwise.cu", per="bottom_diff", each=4)
def absval_backward(bottom_data: Floats, top_diff: Floats, bottom_diff: Floats) -> None:
    """bottom_diff = top_diff * sign(bottom), 0 where bottom is 0"""
    for x, dy, dx in blocks(bottom_data, top_diff, bottom_diff):
        np.multiply(dy, np.sign(x), out=dx)


@kernel("clip.cu", per="top_data", each=4)
def clip_forward(bottom_data: Floats, top_data: Floats, *, lowest: float, highest: float) -> None:
    """top = min(max(bottom, lowest), highest)"""
    np.clip(bottom_data, np.float32(lowest), np.float32(highest), out=top_data)


@kernel("clip.cu", per="bottom_diff", each=4)
def clip_backward(bottom_data: Floats, top_diff: Floats, bottom_diff: Floats, *, lowest: float, highest: float) -> None:
    """bottom_diff = top_diff where lowest <= bottom <= highest, else 0"""
    for x, dy, dx in blocks(bottom_data, top_diff, bottom_diff):
        np.multiply(dy, (x >= np.float32(lowest)) & (x <= np.float32(highest)), out=dx)


@kernel("exp.cu", per="top_data", each=4)
def exp_forward(bottom_data: Floats, top_data: Floats, *, rate: float, factor: float) -> None:
    """top = factor * exp(rate * bottom)"""
    for x, y in blocks(bottom_data, top_data):
        np.multiply(x, np.float32(rate), out=y)
        np.exp(y, out=y)
        y *= np.float32(factor)


@kernel("exp.cu", per="bottom_diff", each=4)
def exp_backward(top_data: Floats, top_diff: Floats, bottom_diff: Floats, *, rate: float, factor: float) -> None:
    """bottom_diff = top_diff * top * rate"""
    part = np.empty(min(BLOCK, top_data.size), np.float32)
    for y, dy, dx in blocks(top_data, top_diff, bottom_diff):
        slope = np.multiply(y, np.float32(rate), out=part[: y.size])
        np.multiply(dy, slope, out=dx)


@kernel("log.cu", per="top_data", each=4)
def log_forward(bottom_data: Floats, top_data: Floats, *, factor: float, scale: float, shift: float) -> None:
    """top = factor * log(shift + scale * bottom)"""
    for x, y in blocks(bottom_data, top_data):
        np.multiply(x, np.float32(scale), out=y)
        y += np.float32(shift)
        np.log(y, out=y)
        y *= np.float32(factor)


@kernel("log.cu", per="bottom_diff", each=4)
def log_backward(
    bottom_data: Floats, top_diff: Floats, bottom_diff: Floats, *, factor: float, scale: float, shift: float
) -> None:
    """bottom_diff = top_diff * factor * scale / (shift + scale * bottom)"""
    part = np.empty(min(BLOCK, bottom_data.size), np.float32)
    for x, dy, dx in blocks(bottom_data, top_diff, bottom_diff):
        slope = np.multiply(x, np.float32(scale), out=part[: x.size])
        slope += np.float32(shift)
        np.divide(np.float32(factor * scale), slope, out=slope)
        np.multiply(dy, slope, out=dx)


@kernel("threshold.cu", per="top_data", each=4)
def threshold_forward(bottom_data: Floats, top_data: Floats, *, threshold: float) -> None:
    """top = 1 if bottom > threshold else 0"""
    np.greater(bottom_data, np.float32(threshold), out=top_data)
