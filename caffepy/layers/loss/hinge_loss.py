"""HingeLoss: one-against-all margins."""

from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import register
from caffepy.layers.basis.labels import LabelRule, counted_labels
from caffepy.layers.loss.loss import RowLoss, add_up
from caffepy.proto.caffe_pb2 import HingeLossParameter


@register("HingeLoss", bottoms=2, tops=1)
class HingeLoss(RowLoss):
    """scores (n, ...), labels (n of them) -> loss (); all scores behind the first axis are classes.

    loss = sum over n, c of max(0, 1 + s[n, c])^norm / n, where s is the score, negated for the label's class; norm is 1
    (L1) or 2 (L2) (Caffe: hinge_loss_layer.cpp).
    """

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        tops = super().reshape(bottom_shapes)
        self.squared = self.param.hinge_loss_param.norm == HingeLossParameter.L2
        self.split_sum(self.num * self.channels)
        return tops

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        self.check_labels(bottom[1], self.channels)
        hinge_loss_forward(
            bottom[0].data, bottom[1].data, self.num, self.channels, self.parts, squared=self.squared, rule=self.rule
        )
        self.finish(top[0], None, self.num)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if propagate_down[0]:
            hinge_loss_backward(
                bottom[0].data,
                bottom[1].data,
                self.num,
                self.channels,
                top[0].diff,
                bottom[0].diff,
                squared=self.squared,
                rule=self.rule,
            )


@kernel("hinge_loss.cu", rows="parts", threads=512)
def hinge_loss_forward(
    bottom_data: Floats, label_data: Floats, num: int, channels: int, parts: Floats, *, squared: bool, rule: LabelRule
) -> None:
    """parts = partial sums over n, c of m[n, c], or with `squared` of m[n, c]^2;
    m[n, c] = max(0, 1 - bottom[n, c] if c == label[n] else 1 + bottom[n, c])"""
    margins = np.maximum(1 + bottom_data.reshape(num, channels) * _sides(label_data, num, channels, rule), 0)
    add_up(np.square(margins, out=margins) if squared else margins, parts)


@kernel("hinge_loss.cu", per="bottom_diff")
def hinge_loss_backward(
    bottom_data: Floats,
    label_data: Floats,
    num: int,
    channels: int,
    top_diff: Floats,
    bottom_diff: Floats,
    *,
    squared: bool,
    rule: LabelRule,
) -> None:
    """bottom_diff[n, c] = (-1 if c == label[n] else 1) * (2 m[n, c] if squared else m[n, c] > 0) * top_diff / num"""
    sides = _sides(label_data, num, channels, rule)
    margins = np.maximum(1 + bottom_data.reshape(num, channels) * sides, 0)
    slope = 2 * margins if squared else np.sign(margins)
    np.multiply(slope * sides, top_diff.reshape(1) / np.float32(num), out=bottom_diff.reshape(num, channels))


def _sides(label_data: Floats, num: int, channels: int, rule: LabelRule) -> Floats:
    """(num, channels): -1 for the label's class, 1 for the others; a label that is no class has none."""
    counted, chosen = counted_labels(label_data, num, channels, 1, rule)
    sides = np.ones((num, channels), np.float32)
    np.put_along_axis(sides, chosen[:, 0], np.where(counted, -1, 1).astype(np.float32), axis=1)
    return sides
