"""ReLU: what is below zero becomes zero, or a fraction of itself."""

from collections.abc import Sequence

import numpy as np

from caffepy.blob import Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import register
from caffepy.layers.basis.elementwise import BLOCK, Elementwise, blocks, rectify
from caffepy.proto.caffe_pb2 import TRAIN


@register("ReLU", bottoms=1, tops=1)
class ReLU(Elementwise):
    """Any shape -> the same; top = max(bottom, 0) + negative_slope * min(bottom, 0) (Nair & Hinton 2010)."""

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.negative_slope = self.param.relu_param.negative_slope
        # Training nets drop out in place behind a ReLU in place, so that its top does not stand.
        self.keeps_bottom = self.runs_in_place and self.phase == TRAIN
        if self.keeps_bottom:
            self.reads = ()
        else:
            # The derivative asks for the sign only, which a slope of at least 0 leaves standing in the top.
            self.reads = ("top",) if self.runs_in_place and self.negative_slope >= 0 else ("bottom",)

    def value(self, bottom_data: Floats, top_data: Floats) -> None:
        relu_forward(bottom_data, top_data, negative_slope=self.negative_slope)

    def derivative(self, bottom_data: Floats, top_data: Floats, top_diff: Floats, bottom_diff: Floats) -> None:
        relu_backward(bottom_data, top_diff, bottom_diff, negative_slope=self.negative_slope)


@kernel("relu.cu", per="top_data", each=4)
def relu_forward(bottom_data: Floats, top_data: Floats, *, negative_slope: float) -> None:
    """top = max(bottom, 0) + negative_slope * min(bottom, 0)"""
    rectify(bottom_data, negative_slope, top_data)


@kernel("relu.cu", per="bottom_diff", each=4)
def relu_backward(bottom_data: Floats, top_diff: Floats, bottom_diff: Floats, *, negative_slope: float) -> None:
    """bottom_diff = top_diff * (1 if bottom > 0 else negative_slope)"""
    factor = np.empty(min(BLOCK, bottom_data.size), np.float32)
    for x, dy, dx in blocks(bottom_data, top_diff, bottom_diff):
        slope = factor[: x.size]
        slope[...] = x > 0
        if negative_slope != 0:
            slope *= np.float32(1 - negative_slope)
            slope += np.float32(negative_slope)
        np.multiply(dy, slope, out=dx)
