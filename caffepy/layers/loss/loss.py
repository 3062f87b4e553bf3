"""What losses share: which labels count, how the losses are added up, and what their sum is divided by."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from caffepy.blob import Arrays, Floats, Ints, Shape
from caffepy.kernels import kernel
from caffepy.layer import Layer, State
from caffepy.layers.loss.loss_plan import label_check_plan, loss_sum_plan
from caffepy.proto.caffe_pb2 import LossParameter

Bools = NDArray[np.bool_]

PART, MOST_PARTS = 4096, 1024
"""A sum of losses is computed in parts: of that many losses, or of more where there were too many parts."""

LOG_THRESHOLD = np.float32(1e-20)
"""What Caffe takes the logarithm of at least (loss_layer.hpp)."""


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


class Loss(Layer):
    """A sum over all values of the bottoms, divided by something -> a scalar top."""

    is_loss = True

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        return [()]

    def split_sum(self, count: int) -> None:
        """Settle in how many parts `count` losses are added up, for `parts`."""
        self._parts: State = self.state("parts", (max(1, min(MOST_PARTS, -(-count // PART))),))

    @property
    def parts(self) -> Floats:
        """Where an operation leaves its partial sums, for `finish` to add up."""
        parts: Floats = self._parts.array
        return parts

    def finish(self, top: Arrays, normalizer: Floats | None, divisor: float) -> None:
        """top = the sum of the parts / (divisor * normalizer)"""
        loss_sum(self._parts.array, normalizer, divisor, top.data)

    def pair_up(self, bottom_shapes: Sequence[Shape]) -> tuple[int, int]:
        """(n, values behind) of bottoms (n, ...), after checking that all have them alike, in whatever shape."""
        first = bottom_shapes[0]
        for name, shape in zip(self.param.bottom, bottom_shapes, strict=True):
            if not first or shape[:1] != first[:1] or math.prod(shape) != math.prod(first):
                raise self.error(
                    f"bottom {name!r} has shape {shape}, bottom {self.param.bottom[0]!r} has {first}; give them 1 axis "
                    "at least, as long for all of them, and as many values"
                )
        return first[0], math.prod(first[1:])

    def rows_of(self, values: Shape, labels: Shape, label_bottom: int) -> tuple[int, int]:
        """(n, all values behind the first axis) of a bottom (n, ...), after checking that there are n labels."""
        if len(values) < 2:
            raise self.error(f"bottom {self.param.bottom[0]!r} must have 2 axes at least, got shape {values}")
        if math.prod(labels) != values[0]:
            raise self.error(
                f"bottom {self.param.bottom[label_bottom]!r} has shape {labels}, {math.prod(labels)} labels; give "
                f"{values[0]}, one for each index of bottom 0's first axis, whose shape is {values}"
            )
        return values[0], math.prod(values[1:])


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

    def check_labels(self, label: Arrays, classes: int, rule: LabelRule = ALL_COUNT) -> None:
        """Look for the first label that is neither a class nor ignored; `verify` raises for it."""
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


class LabelLoss(Loss, LabelChecks):
    """A loss of predictions (bottom 0) against labels (bottom 1), which have no derivative."""

    reads = ("bottom",)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.rule = LabelRule.read(self.param.loss_param)

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        self.settle_check()
        self.normalizer: State = self.state("normalizer", (1,))
        return super().reshape(bottom_shapes)

    def differentiable(self, bottom_index: int) -> bool:
        return bottom_index == 0

    def lay_out(self, scores: Shape, labels: Shape, axis: int) -> tuple[int, int, int]:
        """(outer, classes, inner) of the scores, after checking that there is a label for each outer and inner."""
        outer, inner = math.prod(scores[:axis]), math.prod(scores[axis + 1 :])
        if math.prod(labels) != outer * inner:
            raise self.error(
                f"bottom {self.param.bottom[1]!r} has shape {labels}, {math.prod(labels)} labels; scores of shape "
                f"{scores} with classes along axis {axis} need {outer * inner}"
            )
        return outer, scores[axis], inner


class RowLoss(LabelLoss):
    """scores (n, ...), of which all behind the first axis are classes, and n labels, none of them ignored."""

    label_words = "label", "classes", "mend it"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.rule = ALL_COUNT

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        self.num, self.channels = self.rows_of(bottom_shapes[0], bottom_shapes[1], 1)
        return super().reshape(bottom_shapes)


@kernel("loss.cu", plan=label_check_plan)
def label_check(label_data: Floats, classes: int, bad_label: Ints, bad_value: Floats, *, rule: LabelRule) -> None:
    """bad_label[0] = index of the first label, bad_value[0], outside the classes and not ignored, or -1"""
    bad = ~((label_data > -1) & (label_data < classes) | rule.ignored(label_data)).reshape(-1)
    bad_label[0] = bad.argmax() if bad.any() else -1
    bad_value[0] = label_data.reshape(-1)[bad_label[0]] if label_data.size else 0


@kernel("loss.cu", rows="normalizer", threads=1024)
def loss_normalizer(label_data: Floats, outer: int, inner: int, normalizer: Floats, *, rule: LabelRule) -> None:
    """normalizer[0] = what the sum of losses over (outer, inner) labels is divided by: 1 at least, or as PRE_FIXED"""
    if rule.normalization == LossParameter.PRE_FIXED:
        normalizer[0] = rule.pre_fixed_normalizer
        return
    if rule.normalization == LossParameter.FULL:
        count = outer * inner
    elif rule.normalization == LossParameter.VALID:
        count = label_data.size - int(np.count_nonzero(rule.ignored(label_data)))
    else:
        count = outer if rule.normalization == LossParameter.BATCH_SIZE else 1
    normalizer[0] = max(count, 1)


@kernel("loss_sum.cu", plan=loss_sum_plan)
def loss_sum(parts: Floats, normalizer: Floats | None, divisor: float, top_data: Floats) -> None:
    """top = sum of parts / (divisor * normalizer[0])"""
    top_data[...] = parts.sum(dtype=np.float64) / (divisor * (1 if normalizer is None else normalizer[0]))


def add_up(losses: Floats, parts: Floats) -> None:
    """parts[p] = the sum of a share of the losses: the first share, the second, ..."""
    share = -(-losses.size // parts.size)
    starts = np.arange(0, losses.size, max(1, share))
    parts[...] = 0
    if losses.size:
        parts[: starts.size] = np.add.reduceat(losses.reshape(-1), starts, dtype=np.float64)


def counted_labels(
    label_data: Floats, outer: int, channels: int, inner: int, rule: LabelRule = ALL_COUNT
) -> tuple[Bools, NDArray[np.intp]]:
    """Which labels count (outer, inner), and the labels as indices (outer, 1, inner), 0 where they do not."""
    labels = label_data.reshape(outer, inner)
    counted = ~rule.ignored(labels) & (labels > -1) & (labels < channels)
    return counted, np.where(counted, labels, 0).astype(np.intp)[:, None]
