"""Whole numbers that come as floats, labels above all: which of them count, and which are none at all."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from caffepy.blob import Arrays, Floats, Ints, Shape
from caffepy.kernels import Launch, kernel
from caffepy.layer import Layer, State
from caffepy.proto.caffe_pb2 import LossParameter

Bools = NDArray[np.bool_]
THREADS = 1024


@dataclass(frozen=True)
class LabelRule:
    """A loss_param; labels are floats, of which the whole part counts."""

    has_ignore_label: bool
    ignore_label: int
    normalization: int
    pre_fixed_normalizer: float = 1.0

    @classmethod
    def read(cls, p: LossParameter, default: int = LossParameter.VALID) -> "LabelRule":
        """`normalize`, the older field, chooses VALID or BATCH_SIZE where `normalization` is not given."""
        normalization: int = default
        if p.HasField("normalization"):
            normalization = p.normalization
        elif p.HasField("normalize"):
            normalization = LossParameter.VALID if p.normalize else LossParameter.BATCH_SIZE
        return cls(p.HasField("ignore_label"), p.ignore_label, normalization, p.pre_fixed_normalizer)

    def ignored(self, label_data: Floats) -> Bools:
        """Where the label is ignore_label."""
        ignored: Bools = (np.trunc(label_data) == self.ignore_label) & self.has_ignore_label
        return ignored


ALL_COUNT = LabelRule(False, 0, LossParameter.NONE)
"""No label is ignored."""


class LabelChecks(Layer):
    """A layer that takes whole numbers, at least 0 and below some limit, as floats."""

    verifies = True
    label_bottom: ClassVar[int] = 1
    label_words: ClassVar[tuple[str, str, str]] = "label", "classes", "mend it, or name it in loss_param: ignore_label"
    """What a number is called, what it counts, and what to do about a wrong one."""

    def settle_check(self) -> None:
        """Called by `reshape`."""
        self.bad_label: State = self.state("bad_label", (1,), np.int32)
        self.bad_value: State = self.state("bad_value", (1,))

    def lay_out_labels(self, scores: Shape, labels: Shape, axis: int) -> tuple[int, int, int]:
        """(outer, classes, inner) of the scores, after checking that there is a label for each outer and inner."""
        outer, inner = math.prod(scores[:axis]), math.prod(scores[axis + 1 :])
        if math.prod(labels) != outer * inner:
            raise self.error(
                f"bottom {self.param.bottom[1]!r} has shape {labels}, {math.prod(labels)} labels; scores of shape "
                f"{scores} with classes along axis {axis} need {outer * inner}"
            )
        return outer, scores[axis], inner

    def check_labels(self, label: Arrays, classes: int, rule: LabelRule = ALL_COUNT) -> None:
        """Look for the first label that is neither a class nor ignored; `verify` raises for it."""
        if classes < 1:
            raise self.error(
                f"bottom shapes leave no {self.label_words[1]} for a {self.label_words[0]}; give 1 at least"
            )
        self.label, self.classes = label, classes
        label_check(label.data, classes, self.bad_label.array, self.bad_value.array, rule=rule)

    def verify(self) -> None:
        position = int(self.bad_label.host[0])
        if position >= 0:
            where = tuple(int(i) for i in np.unravel_index(position, self.label.shape))
            name, (what, classes, remedy) = self.param.bottom[self.label_bottom], self.label_words
            raise self.error(
                f"{what} {self.bad_value.host[0]:g} at {where} of bottom {name!r} is not one of the {self.classes} "
                f"{classes} 0 to {self.classes - 1}; {remedy}"
            )


def _one_block(label_data: Any, classes: int, bad_label: Any, bad_value: Any, *, rule: Any) -> list[Launch]:
    """It looks through all labels, so that the first in order is found whoever is fastest."""
    names = ("label_data", "classes", "bad_label", "bad_value")
    return [Launch("label_check", (1,), (THREADS,), (label_data.size, *names))]


@kernel("label_check.cu", plan=_one_block)
def label_check(label_data: Floats, classes: int, bad_label: Ints, bad_value: Floats, *, rule: LabelRule) -> None:
    """bad_label[0] = index of the first label, bad_value[0], outside the classes and not ignored, or -1"""
    bad = ~((label_data > -1) & (label_data < classes) | rule.ignored(label_data)).reshape(-1)
    bad_label[0] = bad.argmax() if bad.any() else -1
    bad_value[0] = label_data.reshape(-1)[bad_label[0]] if label_data.size else 0


def counted_labels(
    label_data: Floats, outer: int, channels: int, inner: int, rule: LabelRule = ALL_COUNT
) -> tuple[Bools, NDArray[np.intp]]:
    """Which labels count (outer, inner), and the labels as indices (outer, 1, inner), 0 where they do not."""
    labels = label_data.reshape(outer, inner)
    counted = ~rule.ignored(labels) & (labels > -1) & (labels < channels)
    return counted, np.where(counted, labels, 0).astype(np.intp)[:, None]
