"""Sigmoid: the logistic function."""

import numpy as np

from caffepy.blob import Floats
from caffepy.kernels import kernel
from caffepy.layer import register
from caffepy.layers.basis.elementwise import BLOCK, Elementwise, blocks


@register("Sigmoid", bottoms=1, tops=1)
class Sigmoid(Elementwise):
    """Any shape -> the same; top = 1 / (1 + exp(-bottom))."""

    reads = ("top",)

    def value(self, bottom_data: Floats, top_data: Floats) -> None:
        sigmoid_forward(bottom_data, top_data)

    def derivative(self, bottom_data: Floats, top_data: Floats, top_diff: Floats, bottom_diff: Floats) -> None:
        sigmoid_backward(top_data, top_diff, bottom_diff)


@kernel("elementwise.cu", per="top_data", each=4)
def sigmoid_forward(bottom_data: Floats, top_data: Floats) -> None:
    """top = tanh(bottom / 2) / 2 + 1/2, equal to 1 / (1 + exp(-bottom)) without overflow (Caffe: sigmoid_layer.cpp)"""
    half = np.float32(0.5)
    for x, y in blocks(bottom_data, top_data):
        np.multiply(x, half, out=y)
        np.tanh(y, out=y)
        y *= half
        y += half


@kernel("elementwise.cu", per="bottom_diff", each=4)
def sigmoid_backward(top_data: Floats, top_diff: Floats, bottom_diff: Floats) -> None:
    """bottom_diff = top_diff * top * (1 - top)"""
    slope = np.empty(min(BLOCK, top_data.size), np.float32)
    for y, dy, dx in blocks(top_data, top_diff, bottom_diff):
        part = np.subtract(1, y, out=slope[: y.size])
        part *= y
        np.multiply(dy, part, out=dx)
