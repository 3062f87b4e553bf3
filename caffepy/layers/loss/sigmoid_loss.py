"""SigmoidLoss: independent yes-or-no predictions against labels."""

from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import State, register
from caffepy.layers.basis.labels import ALL_COUNT
from caffepy.layers.loss.sigmoid_cross_entropy_loss import (
    SigmoidCrossEntropyLoss,
    sigmoid_cross_entropy_loss_backward,
    sigmoid_cross_entropy_loss_forward,
)


@register("SigmoidLoss", bottoms=2, tops=1)
class SigmoidLoss(SigmoidCrossEntropyLoss):
    """scores (n, ...), as many labels -> loss () = -sum of log(sigmoid(x)) where the label is 1, of log(1 - sigmoid(x))
    elsewhere, / n; of a label the whole part counts (caffe-3dnormal_joint_pose: sigmoid_loss_layer.cpp)."""

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        """It has no parameters."""

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        tops = super().reshape(bottom_shapes)
        self.targets: State = self.state("targets", bottom_shapes[0])
        self.normalizer.set(max(1, self.extent[0]))
        return tops

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        targets = self.targets.array
        sigmoid_loss_targets(bottom[1].data, targets)
        sigmoid_cross_entropy_loss_forward(bottom[0].data, targets, targets.size, self.parts, rule=ALL_COUNT)
        self.finish(top[0], self.normalizer.array, 1)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if propagate_down[0]:
            (scores, _), target, normalizer = bottom, self.targets.array, self.normalizer.array
            sigmoid_cross_entropy_loss_backward(
                scores.data, target, normalizer, top[0].diff, scores.diff, rule=ALL_COUNT
            )


@kernel("sigmoid_loss.cu", per="target_data", each=4)
def sigmoid_loss_targets(label_data: Floats, target_data: Floats) -> None:
    """target = 1 if 1 <= label < 2 else 0"""
    label = label_data.reshape(target_data.shape)
    np.logical_and(label >= 1, label < 2, out=target_data, casting="unsafe")
