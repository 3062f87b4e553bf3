"""InnerDistance: distances to learned points."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import Launch, kernel
from caffepy.layer import Layer, register
from caffepy.layers.basis.row_plan import block_per_row
from caffepy.layers.common.inner_product import inner_product_backward_bias


@register("InnerDistance", bottoms=1, tops=1)
class InnerDistance(Layer):
    """bottom (m, ...) -> top (m, num_output); top[m, o] = bias[o] + sum over i of (bottom[m, i] - weight[o, i])^2, or
    of |bottom[m, i] - weight[o, i]| where distance_type is L1 (caffe-windows: inner_distance_layer.cpp).

    Weights: (num_output, inputs); bias (num_output).
    """

    reads = ("bottom",)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p, bottom = self.param.inner_distance_param, bottom_shapes[0]
        if p.num_output < 1:
            raise self.error(f"num_output must be at least 1, got {p.num_output}")
        if p.distance_type not in ("L1", "L2"):
            raise self.error(f"distance_type: {p.distance_type!r} must be 'L1' or 'L2'")
        self.l1 = p.distance_type == "L1"
        self.inputs = math.prod(bottom[1:])
        self.add_weights((p.num_output, self.inputs), p.weight_filler)
        self.add_weights((p.num_output,), p.bias_filler)

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        bottom = bottom_shapes[0]
        if not bottom or math.prod(bottom[1:]) != self.inputs:
            raise self.error(
                f"bottom {self.param.bottom[0]!r} has shape {bottom}; the weights {self.blobs[0].shape} need "
                f"{self.inputs} values behind the first axis"
            )
        self.reserve_work(self.blobs[0].count * bottom[0])
        return [(bottom[0], self.blobs[0].shape[0])]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        weight, bias = (blob.data for blob in self.params)
        inner_distance_forward(bottom[0].data, weight, bias, bias.size, self.inputs, top[0].data, l1=self.l1)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        (weight, bias), data, diff = self.params, bottom[0].data, top[0].diff
        num, outputs = diff.shape
        if self.param_propagate_down[0]:
            sizes = num, outputs, self.inputs
            inner_distance_backward_weights(data, weight.data, diff, *sizes, weight.diff, l1=self.l1)
        if self.param_propagate_down[1]:
            inner_product_backward_bias(diff, bias.diff)
        if propagate_down[0]:
            sizes_down = outputs, self.inputs
            inner_distance_backward(data, weight.data, diff, *sizes_down, bottom[0].diff, l1=self.l1)


def _forward_plan(*arguments: Any, l1: bool) -> list[Launch]:
    names = "bottom_data", "weight_data", "bias_data", "outputs", "inputs", "top_data"
    return block_per_row("inner_distance_forward", names, arguments[-1].size, arguments[-2])


@kernel("inner_distance.cu", plan=_forward_plan)
def inner_distance_forward(
    bottom_data: Floats,
    weight_data: Floats,
    bias_data: Floats,
    outputs: int,
    inputs: int,
    top_data: Floats,
    *,
    l1: bool,
) -> None:
    """top[m, o] = bias[o] + sum over i of d^2, or of |d|, d = bottom[m, i] - weight[o, i]"""
    bottom = bottom_data.reshape(-1, inputs)
    for weight, bias, top in zip(weight_data, bias_data, top_data.T, strict=True):
        d = bottom - weight
        top[...] = (np.abs(d).sum(axis=1) if l1 else np.einsum("mi,mi->m", d, d)) + bias


@kernel("inner_distance.cu", per="bottom_diff")
def inner_distance_backward(
    bottom_data: Floats,
    weight_data: Floats,
    top_diff: Floats,
    outputs: int,
    inputs: int,
    bottom_diff: Floats,
    *,
    l1: bool,
) -> None:
    """bottom_diff[m, i] = sum over o of top_diff[m, o] * 2 d, or * sign(d), d = bottom[m, i] - weight[o, i]"""
    bottom, diff = bottom_data.reshape(-1, inputs), bottom_diff.reshape(-1, inputs)
    diff[...] = 0
    for weight, of_top in zip(weight_data, top_diff.T, strict=True):
        diff += of_top[:, None] * _slope(bottom - weight, l1)


@kernel("inner_distance.cu", per="weight_diff")
def inner_distance_backward_weights(
    bottom_data: Floats,
    weight_data: Floats,
    top_diff: Floats,
    num: int,
    outputs: int,
    inputs: int,
    weight_diff: Floats,
    *,
    l1: bool,
) -> None:
    """weight_diff[o, i] += sum over m of top_diff[m, o] * 2 d, or * sign(d), d = weight[o, i] - bottom[m, i]"""
    bottom = bottom_data.reshape(num, inputs)
    for weight, of_top, diff in zip(weight_data, top_diff.T, weight_diff, strict=True):
        diff += of_top @ _slope(weight - bottom, l1)


def _slope(d: Floats, l1: bool) -> Floats:
    return np.sign(d) if l1 else 2 * d
