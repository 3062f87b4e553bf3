"""YoloSeg: the loss of a segmentation, each class a mask."""

import math
from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import State, register
from caffepy.layers.detection.yolo import sigmoid
from caffepy.layers.loss.loss import Loss, add_up

MASKED = np.float32(0.5)
"""A label above it is of a place that has the class."""


@register("YoloSeg", bottoms=(2, 3), tops=1)
class YoloSeg(Loss):
    """scores (n, c, h, w), labels between 0 and 1 (n, c, h, w) -> loss ().

    loss = sum of d^2 / n, d = object_scale * (sigmoid(score) - label). With a third bottom, in how many places of an
    item a class is (n, c), d is multiplied by 2 - p where the label is above 0.5: p is in how many places of the batch
    the class is, divided by in how many it is not. The diff of the scores is d / n: not the derivative of this loss,
    but that of the sigmoid cross entropy, scaled alike (MobileNet-YOLO: yolo_seg.cpp, where the other parameters have
    no effect either).
    """

    reads = ("bottom",)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.object_scale = self.param.yolo_seg_param.object_scale

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        scores, labels, *places = bottom_shapes
        if len(scores) < 2 or labels[:1] != scores[:1] or math.prod(labels) != math.prod(scores):
            raise self.error(
                f"bottom {self.param.bottom[1]!r} has shape {labels}; scores of shape {scores} need as many labels, "
                "and 2 axes at least, items and classes"
            )
        self.extent = scores[0], scores[1], math.prod(scores[2:])
        if places and (places[0][:1] != scores[:1] or math.prod(places[0]) != math.prod(scores[:2])):
            raise self.error(
                f"bottom {self.param.bottom[2]!r} has shape {places[0]}; give one number of places for each item and "
                f"class, {scores[:2]}"
            )
        self.scales: State | None = self.state("scales", scores[1:2]) if places else None
        self.split_sum(math.prod(scores))
        return super().reshape(bottom_shapes)

    def differentiable(self, bottom_index: int) -> bool:
        return bottom_index == 0

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        if self.scales is not None:
            yolo_seg_scales(bottom[2].data, *self.extent, self.object_scale, self.scales.array)
        yolo_seg_forward(bottom[0].data, bottom[1].data, self._scales, *self.extent, self.object_scale, self.parts)
        self.finish(top[0], None, self.extent[0])

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if propagate_down[0]:
            yolo_seg_backward(
                bottom[0].data,
                bottom[1].data,
                self._scales,
                *self.extent,
                self.object_scale,
                top[0].diff,
                bottom[0].diff,
            )

    @property
    def _scales(self) -> Floats | None:
        return None if self.scales is None else self.scales.array


@kernel("yolo_seg.cu", per="scales")
def yolo_seg_scales(
    places_data: Floats, num: int, channels: int, inner: int, object_scale: float, scales: Floats
) -> None:
    """scales[c] = object_scale * (2 - k / (num * inner - k)), k the sum over n of places[n, c]"""
    having = places_data.reshape(num, channels).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        scales[:] = np.float32(object_scale) * (2 - having / (num * inner - having))


@kernel("yolo_seg.cu", rows="parts", threads=512)
def yolo_seg_forward(
    bottom_data: Floats,
    label_data: Floats,
    scales: Floats | None,
    num: int,
    channels: int,
    inner: int,
    object_scale: float,
    parts: Floats,
) -> None:
    """parts = partial sums of d^2, d = s * (sigmoid(bottom[n, c, i]) - label[n, c, i]); s = scales[c] if there are any
    and the label is above 0.5, else object_scale"""
    misses = _misses(bottom_data, label_data, scales, (num, channels, inner), object_scale)
    add_up(misses * misses, parts)


@kernel("yolo_seg.cu", per="bottom_diff")
def yolo_seg_backward(
    bottom_data: Floats,
    label_data: Floats,
    scales: Floats | None,
    num: int,
    channels: int,
    inner: int,
    object_scale: float,
    top_diff: Floats,
    bottom_diff: Floats,
) -> None:
    """bottom_diff = d * top_diff / num, d as in yolo_seg_forward"""
    misses = _misses(bottom_data, label_data, scales, (num, channels, inner), object_scale)
    factor = top_diff.reshape(1) / np.float32(num)
    np.multiply(misses, factor, out=bottom_diff.reshape(misses.shape))


def _misses(
    bottom_data: Floats, label_data: Floats, scales: Floats | None, extent: Shape, object_scale: float
) -> Floats:
    label = label_data.reshape(extent)
    misses = sigmoid(bottom_data.reshape(extent)) - label
    scale = np.float32(object_scale)
    misses *= scale if scales is None else np.where(label > MASKED, scales[:, None], scale)
    return misses
