"""EuclideanLoss: half the mean squared distance."""

from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import register
from caffepy.layers.basis.elementwise import blocks
from caffepy.layers.loss.loss import Loss, add_up


@register("EuclideanLoss", bottoms=2, tops=1)
class EuclideanLoss(Loss):
    """first, second (n, ...), as many values -> loss ().

    loss = sum of (first - second)^2 / (2 n) (Caffe: euclidean_loss_layer.cpp). Both bottoms have a derivative.
    """

    reads = ("bottom",)

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        self.num, values = self.pair_up(bottom_shapes)
        self.count = self.num * values
        self.split_sum(self.count)
        return super().reshape(bottom_shapes)

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        euclidean_loss_forward(bottom[0].data, bottom[1].data, self.count, self.parts)
        self.finish(top[0], None, 2 * self.num)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        for this, other, down in zip(bottom, reversed(bottom), propagate_down, strict=True):
            if down:
                euclidean_loss_backward(this.data, other.data, top[0].diff, self.num, this.diff)


@kernel("euclidean_loss.cu", rows="parts", threads=512)
def euclidean_loss_forward(first_data: Floats, second_data: Floats, values: int, parts: Floats) -> None:
    """parts = partial sums over i < values of (first[i] - second[i])^2"""
    losses = first_data.reshape(-1) - second_data.reshape(-1)
    add_up(np.square(losses, out=losses), parts)


@kernel("euclidean_loss.cu", per="bottom_diff", each=4)
def euclidean_loss_backward(
    bottom_data: Floats, other_data: Floats, top_diff: Floats, num: int, bottom_diff: Floats
) -> None:
    """bottom_diff = (bottom - other) * top_diff / num"""
    factor = top_diff.reshape(1) / np.float32(num)
    for x, other, dx in blocks(bottom_data, other_data, bottom_diff):
        np.subtract(x, other, out=dx)
        dx *= factor
