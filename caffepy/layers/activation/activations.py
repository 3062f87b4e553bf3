"""Activations beside ReLU, Sigmoid and TanH: BNLL, ELU, HardSwish, ReLU6, Swish."""

from collections.abc import Sequence

import numpy as np

from caffepy.blob import Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import register
from caffepy.layers.activation.sigmoid import sigmoid_forward
from caffepy.layers.basis.elementwise import BLOCK, Elementwise, blocks


@register("BNLL", bottoms=1, tops=1)
class BNLL(Elementwise):
    """Any shape -> the same; top = log(1 + exp(bottom)), the binomial normal log likelihood (Caffe: bnll_layer.cpp)."""

    reads = ("top",)

    def value(self, bottom_data: Floats, top_data: Floats) -> None:
        bnll_forward(bottom_data, top_data)

    def derivative(self, bottom_data: Floats, top_data: Floats, top_diff: Floats, bottom_diff: Floats) -> None:
        bnll_backward(top_data, top_diff, bottom_diff)


@register("ELU", bottoms=1, tops=1)
class ELU(Elementwise):
    """Any shape -> the same; top = bottom if bottom > 0 else alpha * (exp(bottom) - 1) (Clevert et al. 2016)."""

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.alpha = self.param.elu_param.alpha
        self.reads = ("top",) if self.alpha >= 0 else ("bottom", "top")
        super().setup(bottom_shapes)

    def value(self, bottom_data: Floats, top_data: Floats) -> None:
        elu_forward(bottom_data, top_data, alpha=self.alpha)

    def derivative(self, bottom_data: Floats, top_data: Floats, top_diff: Floats, bottom_diff: Floats) -> None:
        signs = top_data if self.alpha >= 0 else bottom_data  # an alpha of at least 0 leaves the signs standing
        elu_backward(signs, top_data, top_diff, bottom_diff, alpha=self.alpha)


@register("HardSwish", bottoms=1, tops=1)
class HardSwish(Elementwise):
    """Any shape -> the same; top = bottom * min(max(bottom + 3, 0), 6) / 6 (Howard et al. 2019, MobileNetV3)."""

    reads = ("bottom",)

    def value(self, bottom_data: Floats, top_data: Floats) -> None:
        hard_swish_forward(bottom_data, top_data)

    def derivative(self, bottom_data: Floats, top_data: Floats, top_diff: Floats, bottom_diff: Floats) -> None:
        hard_swish_backward(bottom_data, top_diff, bottom_diff)


@register("ReLU6", bottoms=1, tops=1)
class ReLU6(Elementwise):
    """Any shape -> the same; top = min(max(bottom, 0), 6) (Krizhevsky 2010; Howard et al. 2017, MobileNet)."""

    reads = ("top",)

    def value(self, bottom_data: Floats, top_data: Floats) -> None:
        relu6_forward(bottom_data, top_data)

    def derivative(self, bottom_data: Floats, top_data: Floats, top_diff: Floats, bottom_diff: Floats) -> None:
        relu6_backward(top_data, top_diff, bottom_diff)


@register("Swish", bottoms=1, tops=1)
class Swish(Elementwise):
    """Any shape -> the same; top = bottom / (1 + exp(-beta * bottom)) (Ramachandran et al. 2017)."""

    reads = ("bottom",)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.beta = self.param.swish_param.beta
        super().setup(bottom_shapes)

    def value(self, bottom_data: Floats, top_data: Floats) -> None:
        swish_forward(bottom_data, top_data, beta=self.beta)

    def derivative(self, bottom_data: Floats, top_data: Floats, top_diff: Floats, bottom_diff: Floats) -> None:
        swish_backward(bottom_data, top_diff, bottom_diff, beta=self.beta)


@kernel("elementwise.cu", per="top_data", each=4)
def bnll_forward(bottom_data: Floats, top_data: Floats) -> None:
    """top = max(bottom, 0) + log(1 + exp(-|bottom|)), equal to log(1 + exp(bottom)) without overflow"""
    part = np.empty(min(BLOCK, bottom_data.size), np.float32)
    for x, y in blocks(bottom_data, top_data):
        small = np.abs(x, out=part[: x.size])
        np.negative(small, out=small)
        np.log1p(np.exp(small, out=small), out=small)
        np.maximum(x, 0, out=y)
        y += small


@kernel("elementwise.cu", per="bottom_diff", each=4)
def bnll_backward(top_data: Floats, top_diff: Floats, bottom_diff: Floats) -> None:
    """bottom_diff = top_diff * (1 - exp(-top)), as 1 - exp(-top) = 1 / (1 + exp(-bottom))"""
    part = np.empty(min(BLOCK, top_data.size), np.float32)
    for y, dy, dx in blocks(top_data, top_diff, bottom_diff):
        slope = np.negative(y, out=part[: y.size])
        np.negative(np.expm1(slope, out=slope), out=slope)
        np.multiply(dy, slope, out=dx)


@kernel("elu.cu", per="top_data", each=4)
def elu_forward(bottom_data: Floats, top_data: Floats, *, alpha: float) -> None:
    """top = bottom if bottom > 0 else alpha * (exp(bottom) - 1)"""
    part = np.empty(min(BLOCK, bottom_data.size), np.float32)
    for x, y in blocks(bottom_data, top_data):
        below = np.minimum(x, 0, out=part[: x.size])
        np.expm1(below, out=below)
        below *= np.float32(alpha)
        np.maximum(x, 0, out=y)
        y += below


@kernel("elu.cu", per="bottom_diff")
def elu_backward(signs: Floats, top_data: Floats, top_diff: Floats, bottom_diff: Floats, *, alpha: float) -> None:
    """bottom_diff = top_diff * (1 if signs > 0 else top + alpha); signs are the bottom, or what has its signs"""
    part = np.empty(min(BLOCK, top_data.size), np.float32)
    for sign, y, dy, dx in blocks(signs, top_data, top_diff, bottom_diff):
        slope = np.minimum(y, np.finfo(np.float32).max, out=part[: y.size])  # 0 times infinity is no 0
        slope += np.float32(alpha)
        above = sign > 0
        slope *= ~above
        slope += above
        np.multiply(dy, slope, out=dx)


@kernel("elementwise.cu", per="top_data", each=4)
def hard_swish_forward(bottom_data: Floats, top_data: Floats) -> None:
    """top = bottom * min(max(bottom + 3, 0), 6) / 6"""
    part = np.empty(min(BLOCK, bottom_data.size), np.float32)
    for x, y in blocks(bottom_data, top_data):
        gate = np.add(x, 3, out=part[: x.size])
        gate.clip(0, 6, out=gate)
        np.multiply(x, gate, out=y)
        y /= 6


@kernel("elementwise.cu", per="bottom_diff", each=4)
def hard_swish_backward(bottom_data: Floats, top_diff: Floats, bottom_diff: Floats) -> None:
    """bottom_diff = top_diff * (0 if bottom < -3, 1 if bottom > 3, else bottom / 3 + 1 / 2)"""
    part = np.empty(min(BLOCK, bottom_data.size), np.float32)
    for x, dy, dx in blocks(bottom_data, top_diff, bottom_diff):
        slope = np.divide(x, 3, out=part[: x.size])
        slope += np.float32(0.5)
        np.copyto(slope, 0, where=x < -3)
        np.copyto(slope, 1, where=x > 3)
        np.multiply(dy, slope, out=dx)


@kernel("elementwise.cu", per="top_data", each=4)
def relu6_forward(bottom_data: Floats, top_data: Floats) -> None:
    """top = min(max(bottom, 0), 6)"""
    np.clip(bottom_data, 0, 6, out=top_data)


@kernel("elementwise.cu", per="bottom_diff", each=4)
def relu6_backward(top_data: Floats, top_diff: Floats, bottom_diff: Floats) -> None:
    """bottom_diff = top_diff where 0 < top < 6, else 0"""
    for y, dy, dx in blocks(top_data, top_diff, bottom_diff):
        np.multiply(dy, (y > 0) & (y < 6), out=dx)


@kernel("swish.cu", per="top_data", each=4)
def swish_forward(bottom_data: Floats, top_data: Floats, *, beta: float) -> None:
    """top = bottom * sigmoid(beta * bottom)"""
    for x, y in blocks(bottom_data, top_data):
        np.multiply(x, _gate(x, beta), out=y)


@kernel("swish.cu", per="bottom_diff", each=4)
def swish_backward(bottom_data: Floats, top_diff: Floats, bottom_diff: Floats, *, beta: float) -> None:
    """bottom_diff = top_diff * g * (1 + beta * bottom * (1 - g)), g = sigmoid(beta * bottom)"""
    for x, dy, dx in blocks(bottom_data, top_diff, bottom_diff):
        gate = _gate(x, beta)
        slope = (1 - gate) * x
        slope *= np.float32(beta)
        slope += 1
        slope *= gate
        np.multiply(dy, slope, out=dx)


def _gate(x: Floats, beta: float) -> Floats:
    """sigmoid(beta * x)"""
    gate: Floats = x * np.float32(beta)
    sigmoid_forward.twin(gate, gate)
    return gate
