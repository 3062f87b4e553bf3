"""SoftmaxWithLoss: how improbable softmax finds the labels."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import register
from caffepy.layers.elementwise import copy_forward
from caffepy.layers.loss import Bools, LabelLoss, LabelRule, loss_normalizer
from caffepy.layers.softmax import softmax_forward


@register("SoftmaxWithLoss", bottoms=2, tops=(1, 2))
class SoftmaxWithLoss(LabelLoss):
    """scores (outer..., c, inner...), labels (outer * inner of them) -> loss (), and optionally the softmax as scores.

    loss = sum of -log(softmax(scores)[label]) over the labels that are not ignored, divided by the normalizer
    (Caffe: softmax_loss_layer.cpp).
    """

    reads = ("bottom",)  # the labels

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        scores, labels = bottom_shapes
        axis = self.canonical_axis(self.param.softmax_param.axis, scores)
        outer, inner = math.prod(scores[:axis]), math.prod(scores[axis + 1 :])
        if math.prod(labels) != outer * inner:
            raise self.error(
                f"bottom {self.param.bottom[1]!r} has shape {labels}, {math.prod(labels)} labels; scores of shape "
                f"{scores} with classes along axis {axis} need {outer * inner}"
            )
        self.extent = outer, scores[axis], inner
        self.prob = self.state("prob", scores)
        return [*super().reshape(bottom_shapes), scores][: len(self.param.top)]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        outer, classes, inner = self.extent
        label, prob, normalizer = bottom[1].data, self.prob.array, self.normalizer.array
        self.check_labels(bottom[1], classes)
        softmax_forward(bottom[0].data, *self.extent, prob)
        loss_normalizer(label, outer, inner, normalizer, rule=self.rule)
        softmax_loss_forward(prob, label, *self.extent, normalizer, top[0].data, rule=self.rule)
        for second in top[1:]:
            copy_forward(prob, second.data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if propagate_down[0]:
            softmax_loss_backward(
                self.prob.array,
                bottom[1].data,
                *self.extent,
                self.normalizer.array,
                top[0].diff,
                bottom[0].diff,
                rule=self.rule,
            )


@kernel("softmax_loss.cu", rows="top_data", threads=1024)
def softmax_loss_forward(
    prob: Floats,
    label_data: Floats,
    outer: int,
    channels: int,
    inner: int,
    normalizer: Floats,
    top_data: Floats,
    *,
    rule: LabelRule,
) -> None:
    """top = -sum over o, i of log(max(prob[o, label[o, i], i], FLT_MIN)) / normalizer over the labels that count"""
    counted, chosen = _labels(label_data, outer, channels, inner, rule)
    of_label = np.take_along_axis(prob.reshape(outer, channels, inner), chosen, axis=1)
    losses = np.log(np.maximum(of_label[:, 0], np.finfo(np.float32).tiny))
    top_data[...] = -losses.sum(where=counted, dtype=np.float64) / normalizer[0]


@kernel("softmax_loss.cu", per="bottom_diff")
def softmax_loss_backward(
    prob: Floats,
    label_data: Floats,
    outer: int,
    channels: int,
    inner: int,
    normalizer: Floats,
    top_diff: Floats,
    bottom_diff: Floats,
    *,
    rule: LabelRule,
) -> None:
    """bottom_diff[o, c, i] = (prob[o, c, i] - (c == label[o, i])) * top_diff / normalizer, 0 where not counted"""
    counted, chosen = _labels(label_data, outer, channels, inner, rule)
    dx = bottom_diff.reshape(outer, channels, inner)
    weight = top_diff.reshape(1) / normalizer
    np.multiply(prob.reshape(outer, channels, inner), weight, out=dx)
    np.put_along_axis(dx, chosen, np.take_along_axis(dx, chosen, axis=1) - weight, axis=1)
    if not counted.all():
        np.copyto(dx, 0, where=~counted[:, None])


def _labels(
    label_data: Floats, outer: int, channels: int, inner: int, rule: LabelRule
) -> tuple[Bools, NDArray[np.intp]]:
    """Which labels count (outer, inner), and the labels as indices (outer, 1, inner), 0 where they do not."""
    labels = label_data.reshape(outer, inner)
    counted = ~rule.ignored(labels) & (labels > -1) & (labels < channels)
    return counted, np.where(counted, labels, 0).astype(np.intp)[:, None]
