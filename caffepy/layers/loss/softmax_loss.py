"""SoftmaxWithLoss: how improbable softmax finds the labels."""

import math
from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import State, register
from caffepy.layers.activation.softmax import softmax_forward
from caffepy.layers.basis.elementwise import copy_forward
from caffepy.layers.basis.labels import LabelRule, counted_labels
from caffepy.layers.loss.loss import LabelLoss, add_up, loss_normalizer


class SoftmaxLoss(LabelLoss):
    """A loss of the softmax of scores, which is the optional second top."""

    def axis_of(self, scores: Shape) -> int:
        """Where in the scores' shape the classes are."""
        raise NotImplementedError

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        scores, labels = bottom_shapes[:2]
        self.extent = self.lay_out_labels(scores, labels, self.axis_of(scores))
        self.prob: State = self.state("prob", scores)
        return [*super().reshape(bottom_shapes), scores][: len(self.param.top)]

    def predict(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        """Check the labels, then compute the softmax and the normalizer."""
        outer, classes, inner = self.extent
        self.check_labels(bottom[1], classes, self.rule)
        softmax_forward(bottom[0].data, *self.extent, self.prob.array)
        loss_normalizer(bottom[1].data, outer, inner, self.normalizer.array, rule=self.rule)
        for second in top[1:]:
            copy_forward(self.prob.array, second.data)


@register("SoftmaxWithLoss", bottoms=2, tops=(1, 2))
class SoftmaxWithLoss(SoftmaxLoss):
    """scores (outer..., c, inner...), labels (outer * inner of them) -> loss (), and optionally the softmax as scores.

    loss = sum of -log(softmax(scores)[label]) over the labels that are not ignored, divided by the normalizer
    (Caffe: softmax_loss_layer.cpp). With weight_by_label_freqs each summand is multiplied by its label's
    class_weighting (SegNet).
    """

    def axis_of(self, scores: Shape) -> int:
        return self.canonical_axis(self.param.softmax_param.axis, scores)

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        tops = super().reshape(bottom_shapes)
        self.split_sum(math.prod(bottom_shapes[1]))
        if self.param.loss_param.weight_by_label_freqs:
            self._settle_weights(self.param.loss_param.class_weighting, self.extent[1])
        return tops

    def _settle_weights(self, weights: Sequence[float], classes: int) -> None:
        if len(weights) != classes:
            raise self.error(f"{len(weights)} class_weighting for {classes} classes; give one for each class")
        self.weights: State = self.state("class_weight", (classes,))
        self.weights.set(weights)

    @property
    def class_weight(self) -> Floats | None:
        """(classes), or None for 1 each."""
        return self.weights.array if self.param.loss_param.weight_by_label_freqs else None

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        self.predict(bottom, top)
        softmax_loss_forward(
            self.prob.array, bottom[1].data, self.class_weight, *self.extent, self.parts, rule=self.rule
        )
        self.finish(top[0], self.normalizer.array, 1)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if propagate_down[0]:
            softmax_loss_backward(
                self.prob.array,
                bottom[1].data,
                self.class_weight,
                *self.extent,
                self.normalizer.array,
                top[0].diff,
                bottom[0].diff,
                rule=self.rule,
            )


@kernel("softmax_loss.cu", rows="parts", threads=512)
def softmax_loss_forward(
    prob: Floats,
    label_data: Floats,
    class_weight: Floats | None,
    outer: int,
    channels: int,
    inner: int,
    parts: Floats,
    *,
    rule: LabelRule,
) -> None:
    """parts = partial sums over o, i of -class_weight[label] * log(max(prob[o, label, i], FLT_MIN)), label =
    label[o, i], over the labels that count; without class_weight it is 1"""
    counted, chosen = counted_labels(label_data, outer, channels, inner, rule)
    of_label = np.take_along_axis(prob.reshape(outer, channels, inner), chosen, axis=1)[:, 0]
    losses = -np.log(np.maximum(of_label, np.finfo(np.float32).tiny))
    if class_weight is not None:
        losses *= class_weight[chosen[:, 0]]
    add_up(np.where(counted, losses, np.float32(0)), parts)


@kernel("softmax_loss.cu", per="bottom_diff")
def softmax_loss_backward(
    prob: Floats,
    label_data: Floats,
    class_weight: Floats | None,
    outer: int,
    channels: int,
    inner: int,
    normalizer: Floats,
    top_diff: Floats,
    bottom_diff: Floats,
    *,
    rule: LabelRule,
) -> None:
    """bottom_diff[o, c, i] = (prob[o, c, i] - (c == label)) * class_weight[label] * top_diff / normalizer, label =
    label[o, i], 0 where it does not count"""
    counted, chosen = counted_labels(label_data, outer, channels, inner, rule)
    dx = bottom_diff.reshape(outer, channels, inner)
    weight = top_diff.reshape(1) / normalizer
    if class_weight is not None:
        weight = weight * class_weight[chosen]
    np.multiply(prob.reshape(outer, channels, inner), weight, out=dx)
    np.put_along_axis(dx, chosen, np.take_along_axis(dx, chosen, axis=1) - weight, axis=1)
    if not counted.all():
        np.copyto(dx, 0, where=~counted[:, None])
