"""SigmoidCrossEntropyLoss: independent yes-or-no predictions against targets."""

import math
from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import State, register
from caffepy.layers.basis.labels import LabelRule
from caffepy.layers.loss.loss import Loss, add_up, loss_normalizer
from caffepy.proto.caffe_pb2 import LossParameter


@register("SigmoidCrossEntropyLoss", bottoms=2, tops=1)
class SigmoidCrossEntropyLoss(Loss):
    """scores (n, ...), as many targets between 0 and 1 -> loss ().

    loss = sum of -(t log(sigmoid(x)) + (1 - t) log(1 - sigmoid(x))) over the targets that are not ignored, divided by
    the normalizer; normalization is BATCH_SIZE unless given (Caffe: sigmoid_cross_entropy_loss_layer.cpp).
    """

    reads = ("bottom",)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.rule = LabelRule.read(self.param.loss_param, LossParameter.BATCH_SIZE)

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        scores, targets = bottom_shapes
        if not scores or math.prod(targets) != math.prod(scores):
            raise self.error(
                f"bottom {self.param.bottom[1]!r} has shape {targets}; scores of shape {scores} need as many targets, "
                "and 1 axis at least"
            )
        self.extent = scores[0], math.prod(scores[1:])
        self.normalizer: State = self.state("normalizer", (1,))
        self.split_sum(math.prod(scores))
        return super().reshape(bottom_shapes)

    def differentiable(self, bottom_index: int) -> bool:
        return bottom_index == 0

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        scores, targets, normalizer = bottom[0].data, bottom[1].data, self.normalizer.array
        loss_normalizer(targets, *self.extent, normalizer, rule=self.rule)
        sigmoid_cross_entropy_loss_forward(scores, targets, math.prod(self.extent), self.parts, rule=self.rule)
        self.finish(top[0], normalizer, 1)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if propagate_down[0]:
            sigmoid_cross_entropy_loss_backward(
                bottom[0].data,
                bottom[1].data,
                self.normalizer.array,
                top[0].diff,
                bottom[0].diff,
                rule=self.rule,
            )


@kernel("sigmoid_cross_entropy_loss.cu", rows="parts", threads=512)
def sigmoid_cross_entropy_loss_forward(
    bottom_data: Floats, target_data: Floats, values: int, parts: Floats, *, rule: LabelRule
) -> None:
    """parts = partial sums over i < values of log(1 + exp(-|x|)) - x * (t - (x >= 0)), x = bottom[i], t = target[i],
    over the targets that count"""
    x, t = bottom_data.reshape(-1), target_data.reshape(-1)
    losses = np.log1p(np.exp(-np.abs(x))) - x * (t - (x >= 0))
    add_up(np.where(rule.ignored(t), np.float32(0), losses), parts)


@kernel("sigmoid_cross_entropy_loss.cu", per="bottom_diff")
def sigmoid_cross_entropy_loss_backward(
    bottom_data: Floats,
    target_data: Floats,
    normalizer: Floats,
    top_diff: Floats,
    bottom_diff: Floats,
    *,
    rule: LabelRule,
) -> None:
    """bottom_diff = (sigmoid(bottom) - target) * top_diff / normalizer, 0 where the target does not count"""
    target = target_data.reshape(bottom_data.shape)
    np.tanh(bottom_data / 2, out=bottom_diff)
    bottom_diff /= 2
    bottom_diff += np.float32(0.5) - target
    bottom_diff *= top_diff.reshape(1) / normalizer
    np.copyto(bottom_diff, 0, where=rule.ignored(target))
