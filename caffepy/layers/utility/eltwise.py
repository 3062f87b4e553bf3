"""Eltwise: blobs of one shape added, multiplied or compared value by value."""

from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Ints, Shape
from caffepy.kernels import kernel
from caffepy.layer import Layer, State, register
from caffepy.layers.basis.elementwise import BLOCK, blocks, rectify
from caffepy.proto.caffe_pb2 import EltwiseParameter


@register("Eltwise", bottoms=(2, None), tops=1)
class Eltwise(Layer):
    """Bottoms of one shape -> the same shape: their sum (each times its coeff), product or maximum.

    PROD's derivative multiplies the other bottoms, which is defined at zeros too, whatever stable_prod_grad says.
    """

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.eltwise_param
        self.operation, bottoms = p.operation, len(self.param.bottom)
        if p.coeff and self.operation == EltwiseParameter.PROD:
            raise self.error("operation: PROD takes no coeff; remove them, or use SUM")
        if len(p.coeff) not in (0, bottoms):
            raise self.error(f"{len(p.coeff)} coeff for {bottoms} bottoms; give one for each, or none")
        self.coeffs = list(p.coeff) or [1.0] * bottoms
        self.reads = ("bottom",) if self.operation == EltwiseParameter.PROD else ()

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        first = bottom_shapes[0]
        for name, shape in zip(self.param.bottom, bottom_shapes, strict=True):
            if shape != first:
                raise self.error(
                    f"bottom {name!r} has shape {shape}, bottom {self.param.bottom[0]!r} has {first}; "
                    "all must have the same"
                )
        self.row_bottoms = range(len(bottom_shapes))
        if self.operation == EltwiseParameter.MAX:
            self.mask: State = self.state("mask", first, np.int32)
        return [first]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        data = [arrays.data for arrays in bottom]
        if self.operation == EltwiseParameter.SUM:
            self._sum(data, top[0].data)
        elif self.operation == EltwiseParameter.PROD:
            _product(data, top[0].data)
        else:
            eltwise_max_forward(data[0], data[1], self.mask.array, top[0].data)
            for index, further in enumerate(data[2:], 2):
                eltwise_max_further_forward(further, index, self.mask.array, top[0].data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        top_diff = top[0].diff
        for index, arrays in enumerate(bottom):
            if not propagate_down[index]:
                continue
            if self.operation == EltwiseParameter.SUM:
                eltwise_sum_backward(top_diff, arrays.diff, coeff=self.coeffs[index])
            elif self.operation == EltwiseParameter.PROD:
                others = [other.data for i, other in enumerate(bottom) if i != index]
                _product([top_diff, *others], arrays.diff)
            else:
                eltwise_max_backward(top_diff, self.mask.array, index, arrays.diff)

    def _sum(self, data: Sequence[Floats], top_data: Floats) -> None:
        first, second = self.coeffs[:2]
        eltwise_sum_forward(data[0], data[1], top_data, first_coeff=first, second_coeff=second)
        for further, coeff in zip(data[2:], self.coeffs[2:], strict=True):
            eltwise_sum_forward(top_data, further, top_data, first_coeff=1.0, second_coeff=coeff)


def _product(factors: Sequence[Floats], result: Floats) -> None:
    eltwise_prod_forward(factors[0], factors[1], result)
    for further in factors[2:]:
        eltwise_prod_forward(result, further, result)


@kernel("eltwise_sum.cu", per="top_data", each=4)
def eltwise_sum_forward(
    first_data: Floats,
    second_data: Floats,
    top_data: Floats,
    *,
    first_coeff: float,
    second_coeff: float,
    negative_slope: float = 1.0,
) -> None:
    """top = first_coeff * first + second_coeff * second, below 0 times negative_slope; top may be first"""
    if first_coeff == 1 and second_coeff == 1:
        np.add(first_data, second_data, out=top_data)
    else:
        scaled = np.empty(min(BLOCK, first_data.size), np.float32)
        for a, b, y in blocks(first_data, second_data, top_data):
            part = np.multiply(b, np.float32(second_coeff), out=scaled[: b.size])
            np.multiply(a, np.float32(first_coeff), out=y)
            y += part
    if negative_slope != 1:
        rectify(top_data, negative_slope, top_data)


@kernel("eltwise_sum_backward.cu", per="bottom_diff", each=4)
def eltwise_sum_backward(top_diff: Floats, bottom_diff: Floats, *, coeff: float) -> None:
    """bottom_diff = coeff * top_diff"""
    np.multiply(top_diff, np.float32(coeff), out=bottom_diff)


@kernel("elementwise.cu", per="top_data", each=4)
def eltwise_prod_forward(first_data: Floats, second_data: Floats, top_data: Floats) -> None:
    """top = first * second; top may be first"""
    np.multiply(first_data, second_data, out=top_data)


@kernel("elementwise.cu", per="top_data")
def eltwise_max_forward(first_data: Floats, second_data: Floats, mask: Ints, top_data: Floats) -> None:
    """top = first, mask = 0 if first > second, else top = second, mask = 1: so with a tie (Caffe: eltwise_layer.cpp)"""
    for a, b, index, y in blocks(first_data, second_data, mask, top_data):
        index[...] = ~(a > b)
        np.maximum(a, b, out=y)


@kernel("elementwise.cu", per="top_data")
def eltwise_max_further_forward(bottom_data: Floats, index: int, mask: Ints, top_data: Floats) -> None:
    """top = bottom, mask = index where bottom > top"""
    for x, winner, y in blocks(bottom_data, mask, top_data):
        np.maximum(winner, (x > y) * np.int32(index), out=winner)  # indices only grow
        np.maximum(x, y, out=y)


@kernel("elementwise.cu", per="bottom_diff")
def eltwise_max_backward(top_diff: Floats, mask: Ints, index: int, bottom_diff: Floats) -> None:
    """bottom_diff = top_diff if mask == index else 0"""
    for dy, winner, dx in blocks(top_diff, mask, bottom_diff):
        np.multiply(dy, winner == index, out=dx)
