"""ContrastiveLoss: similar pairs together, others a margin apart."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import State, register
from caffepy.layers.basis.labels import Bools
from caffepy.layers.loss.loss import Loss, add_up
from caffepy.proto.caffe_pb2 import ContrastiveLossParameter

EPS = np.float32(1e-4)
"""What Caffe adds to a distance that it divides by."""


@register("ContrastiveLoss", bottoms=(3, 4), tops=1)
class ContrastiveLoss(Loss):
    """first, second (n, ...), labels (n of them; 0: dissimilar, else similar) -> loss ().

    With a fourth bottom the labels are those of the first and of the second: a pair is similar if they are equal
    (caffe-windows). loss = sum over n of l[n] / (2 n), where d is the distance of first[n] and second[n], and l is d^2
    for similar pairs, else max(0, margin - d)^2, or with legacy_version max(0, margin - d^2) (Hadsell, Chopra & LeCun
    2006; Caffe: contrastive_loss_layer.cpp).
    """

    reads = ("bottom",)

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        first, second, *labels = bottom_shapes
        if first[:1] != second[:1] or math.prod(first) != math.prod(second):
            raise self.error(f"bottoms 0 and 1 must have as many rows and values, got shapes {first} and {second}")
        for index, shape in enumerate(labels, start=2):
            self.num, self.channels = self.rows_of(first, shape, index)
        p: ContrastiveLossParameter = self.param.contrastive_loss_param
        self.margin, self.legacy_version = p.margin, p.legacy_version
        self.squared: State = self.state("squared", (self.num,))
        self.split_sum(self.num)
        return super().reshape(bottom_shapes)

    def differentiable(self, bottom_index: int) -> bool:
        return bottom_index < 2

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        squared = self.squared.array
        contrastive_distances(bottom[0].data, bottom[1].data, self.channels, squared)
        contrastive_loss_forward(
            squared,
            *_labels(bottom),
            self.num,
            self.parts,
            margin=self.margin,
            legacy_version=self.legacy_version,
        )
        self.finish(top[0], None, 2 * self.num)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        for this, other in ((0, 1), (1, 0)):
            if propagate_down[this]:
                contrastive_loss_backward(
                    bottom[this].data,
                    bottom[other].data,
                    *_labels(bottom),
                    self.squared.array,
                    self.num,
                    self.channels,
                    top[0].diff,
                    bottom[this].diff,
                    margin=self.margin,
                    legacy_version=self.legacy_version,
                )


def _labels(bottom: Sequence[Arrays]) -> tuple[Floats, Floats | None]:
    return bottom[2].data, bottom[3].data if len(bottom) > 3 else None


@kernel("contrastive_distances.cu", rows="squared")
def contrastive_distances(first_data: Floats, second_data: Floats, channels: int, squared: Floats) -> None:
    """squared[n] = sum over c of (first[n, c] - second[n, c])^2"""
    difference = first_data.reshape(squared.size, channels) - second_data.reshape(squared.size, channels)
    np.einsum("nc,nc->n", difference, difference, out=squared)


@kernel("contrastive_loss.cu", rows="parts", threads=512)
def contrastive_loss_forward(
    squared: Floats,
    label_data: Floats,
    other_label_data: Floats | None,
    num: int,
    parts: Floats,
    *,
    margin: float,
    legacy_version: bool,
) -> None:
    """parts = partial sums over n of squared[n] if similar, else max(0, margin - sqrt(squared[n]))^2, or with
    legacy_version max(0, margin - squared[n]); similar: label[n] is not 0, or is other_label[n] if there are those"""
    apart = np.maximum(np.float32(margin) - (squared if legacy_version else np.sqrt(squared)), 0)
    similar = _similar(label_data, other_label_data)
    add_up(np.where(similar, squared, apart if legacy_version else apart * apart), parts)


@kernel("contrastive_loss.cu", per="bottom_diff")
def contrastive_loss_backward(
    bottom_data: Floats,
    other_data: Floats,
    label_data: Floats,
    other_label_data: Floats | None,
    squared: Floats,
    num: int,
    channels: int,
    top_diff: Floats,
    bottom_diff: Floats,
    *,
    margin: float,
    legacy_version: bool,
) -> None:
    """bottom_diff[n, c] = s * (bottom[n, c] - other[n, c]) * top_diff / num; s = 1 if similar, else
    -max(0, margin - d) / (d + 1e-4), d = sqrt(squared[n]), or with legacy_version -(margin > squared[n])"""
    apart: NDArray[np.floating]
    if legacy_version:
        apart = -np.greater(np.float32(margin), squared).astype(np.float32)
    else:
        distance = np.sqrt(squared)
        apart = np.minimum(distance - np.float32(margin), 0) / (distance + EPS)
    slope = np.where(_similar(label_data, other_label_data), np.float32(1), apart)
    slope *= top_diff.reshape(1) / np.float32(num)
    difference = bottom_data.reshape(num, channels) - other_data.reshape(num, channels)
    np.multiply(difference, slope[:, None], out=bottom_diff.reshape(num, channels))


def _similar(label_data: Floats, other_label_data: Floats | None) -> Bools:
    label = np.trunc(label_data.reshape(-1))
    similar: Bools = label != 0 if other_label_data is None else label == np.trunc(other_label_data.reshape(-1))
    return similar
