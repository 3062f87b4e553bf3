"""MultinomialLogisticLoss: how improbable given probabilities find the labels."""

from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import register
from caffepy.layers.basis.labels import LabelRule, counted_labels
from caffepy.layers.loss.loss import LOG_THRESHOLD, RowLoss, add_up


@register("MultinomialLogisticLoss", bottoms=2, tops=1)
class MultinomialLogisticLoss(RowLoss):
    """probabilities (n, ...), labels (n of them) -> loss (); all values behind the first axis are classes.

    loss = sum over n of -log(max(p[n, label[n]], 1e-20)) / n (Caffe: multinomial_logistic_loss_layer.cpp).
    """

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        tops = super().reshape(bottom_shapes)
        self.split_sum(self.num)
        return tops

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        self.check_labels(bottom[1], self.channels)
        multinomial_logistic_loss_forward(
            bottom[0].data, bottom[1].data, self.num, self.channels, self.parts, rule=self.rule
        )
        self.finish(top[0], None, self.num)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if propagate_down[0]:
            multinomial_logistic_loss_backward(
                bottom[0].data, bottom[1].data, self.num, self.channels, top[0].diff, bottom[0].diff, rule=self.rule
            )


@kernel("multinomial_logistic_loss.cu", rows="parts", threads=512)
def multinomial_logistic_loss_forward(
    bottom_data: Floats, label_data: Floats, num: int, channels: int, parts: Floats, *, rule: LabelRule
) -> None:
    """parts = partial sums over n of -log(max(bottom[n, label[n]], 1e-20))"""
    counted, chosen = counted_labels(label_data, num, channels, 1, rule)
    p = np.take_along_axis(bottom_data.reshape(num, channels), chosen[:, 0], axis=1)
    add_up(np.where(counted, -np.log(np.maximum(p, LOG_THRESHOLD)), np.float32(0)), parts)


@kernel("multinomial_logistic_loss.cu", per="bottom_diff")
def multinomial_logistic_loss_backward(
    bottom_data: Floats,
    label_data: Floats,
    num: int,
    channels: int,
    top_diff: Floats,
    bottom_diff: Floats,
    *,
    rule: LabelRule,
) -> None:
    """bottom_diff[n, label[n]] = -top_diff / (num * max(bottom[n, label[n]], 1e-20)), 0 elsewhere"""
    counted, chosen = counted_labels(label_data, num, channels, 1, rule)
    p = np.take_along_axis(bottom_data.reshape(num, channels), chosen[:, 0], axis=1)
    slope = np.where(counted, top_diff.reshape(1) / np.float32(-num) / np.maximum(p, LOG_THRESHOLD), np.float32(0))
    bottom_diff[...] = 0
    np.put_along_axis(bottom_diff.reshape(num, channels), chosen[:, 0], slope, axis=1)
