"""What losses share: how they are added up, and what their sum is divided by."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import Launch, kernel
from caffepy.layer import Layer, State
from caffepy.layers.basis.labels import ALL_COUNT, LabelChecks, LabelRule
from caffepy.proto.caffe_pb2 import LossParameter

PART, MOST_PARTS = 4096, 1024
"""A sum of losses is computed in parts: of that many losses, or of more where there were too many parts."""

LOG_THRESHOLD = np.float32(1e-20)
"""What Caffe takes the logarithm of at least (loss_layer.hpp)."""


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


class RowLoss(LabelLoss):
    """scores (n, ...), of which all behind the first axis are classes, and n labels, none of them ignored."""

    label_words = "label", "classes", "mend it"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.rule = ALL_COUNT

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        self.num, self.channels = self.rows_of(bottom_shapes[0], bottom_shapes[1], 1)
        return super().reshape(bottom_shapes)


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


def _one_block(parts: Floats, normalizer: Any, divisor: float, top_data: Any) -> list[Launch]:
    """There are no more parts than threads."""
    return [Launch("loss_sum", (1,), (MOST_PARTS,), (parts.size, "parts", "normalizer", "divisor", "top_data"))]


@kernel("loss_sum.cu", plan=_one_block)
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
