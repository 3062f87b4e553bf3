"""What losses over labels share: which labels count, and what the loss is divided by."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caffepy.blob import Arrays, Floats, Ints, Shape
from caffepy.kernels import kernel
from caffepy.layer import Layer
from caffepy.layers.loss_plan import label_check_plan
from caffepy.proto.caffe_pb2 import LossParameter

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class LabelRule:
    """A loss_param; labels are floats, of which the whole part counts."""

    has_ignore_label: bool
    ignore_label: int
    normalization: int

    @classmethod
    def read(cls, p: LossParameter) -> "LabelRule":
        """`normalize`, the older field, chooses VALID or BATCH_SIZE where `normalization` is not given."""
        normalization: int = p.normalization
        if p.HasField("normalize") and not p.HasField("normalization"):
            normalization = LossParameter.VALID if p.normalize else LossParameter.BATCH_SIZE
        return cls(p.HasField("ignore_label"), p.ignore_label, normalization)

    def ignored(self, label_data: Floats) -> Bools:
        """Where the label is ignore_label."""
        ignored: Bools = (np.trunc(label_data) == self.ignore_label) & self.has_ignore_label
        return ignored


class LabelLoss(Layer):
    """A loss of predictions (bottom 0) against labels (bottom 1), which have no derivative."""

    is_loss = True
    verifies = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.rule = LabelRule.read(self.param.loss_param)

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        self.bad_label = self.state("bad_label", (1,), np.int32)
        self.bad_value = self.state("bad_value", (1,))
        self.normalizer = self.state("normalizer", (1,))
        return [()]

    def differentiable(self, bottom_index: int) -> bool:
        return bottom_index == 0

    def check_labels(self, label: Arrays, classes: int) -> None:
        """Look for the first label that is neither a class nor ignored; `verify` raises for it."""
        self.label, self.classes = label, classes
        label_check(label.data, classes, self.bad_label.array, self.bad_value.array, rule=self.rule)

    def verify(self) -> None:
        position = int(self.bad_label.host[0])
        if position >= 0:
            where = tuple(int(i) for i in np.unravel_index(position, self.label.shape))
            raise self.error(
                f"label {self.bad_value.host[0]:g} at {where} of bottom {self.param.bottom[1]!r} is not one of the "
                f"{self.classes} classes 0 to {self.classes - 1}; mend it, or name it in loss_param: ignore_label"
            )


@kernel("loss.cu", plan=label_check_plan)
def label_check(label_data: Floats, classes: int, bad_label: Ints, bad_value: Floats, *, rule: LabelRule) -> None:
    """bad_label[0] = index of the first label, bad_value[0], outside the classes and not ignored, or -1"""
    bad = ~((label_data > -1) & (label_data < classes) | rule.ignored(label_data)).reshape(-1)
    bad_label[0] = bad.argmax() if bad.any() else -1
    bad_value[0] = label_data.reshape(-1)[bad_label[0]] if label_data.size else 0


@kernel("loss.cu", rows="normalizer", threads=1024)
def loss_normalizer(label_data: Floats, outer: int, inner: int, normalizer: Floats, *, rule: LabelRule) -> None:
    """normalizer[0] = what the sum of losses over (outer, inner) labels is divided by: 1 at least"""
    if rule.normalization == LossParameter.FULL:
        count = outer * inner
    elif rule.normalization == LossParameter.VALID:
        count = label_data.size - int(np.count_nonzero(rule.ignored(label_data)))
    else:
        count = outer if rule.normalization == LossParameter.BATCH_SIZE else 1
    normalizer[0] = max(count, 1)
