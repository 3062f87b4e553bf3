"""SegAccuracy: how well label maps are predicted."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from caffepy.blob import Arrays, Floats, Ints, Shape
from caffepy.kernels import THREADS, Launch, kernel
from caffepy.layer import State, register
from caffepy.layers.basis.labels import LabelChecks


@register("SegAccuracy", bottoms=2, tops=1)
class SegAccuracy(LabelChecks):
    """scores (n, c, h, w), labels (n, 1, h, w) -> (1, 1, 1, 3): the share of pixels whose best class is their label;
    its mean over the classes that occur; intersection over union, its mean over all classes. It has no derivative.

    Of equal scores the last class's is best; a class that neither occurs nor is best anywhere has intersection over
    union 1. Pixels whose label is one of ignore_label count nowhere. Without `reset` all passes so far count together.
    `metric` changes nothing, there as here (DeepLab: seg_accuracy_layer.cpp, confusion_matrix.cpp).
    """

    reads = ()
    label_words = "label", "classes", "mend it, or name it in seg_accuracy_param: ignore_label"

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        n, self.classes, h, w = self.expect_axes(bottom_shapes, 0, 4)
        if bottom_shapes[1] != (n, 1, h, w):
            raise self.error(
                f"bottom {self.param.bottom[1]!r} has shape {bottom_shapes[1]}; labels for scores of shape "
                f"{bottom_shapes[0]} must be {(n, 1, h, w)}"
            )
        ignored = self.param.seg_accuracy_param.ignore_label
        self.ignored: State = self.state("ignored", (len(ignored),), np.int32)
        self.ignored.set(list(ignored))
        self.confusion: State = self.state("confusion", (self.classes, self.classes), np.int32)
        self.inner = h * w
        self.settle_check()
        return [(1, 1, 1, 3)]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        self.label, confusion = bottom[1], self.confusion.array
        ignored, bad_label = self.ignored.array, self.bad_label.array
        reset = int(self.param.seg_accuracy_param.reset)
        sizes = self.classes, self.inner, ignored.size
        seg_accuracy_count(bottom[0].data, self.label.data, ignored, *sizes, reset, confusion, bad_label)
        seg_accuracy_forward(confusion, self.label.data, bad_label, self.classes, self.bad_value.array, top[0].data)

    def differentiable(self, bottom_index: int) -> bool:
        return False

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        """There is no derivative."""


def _count_plan(
    bottom_data: Any,
    label_data: Any,
    ignored: Any,
    channels: int,
    inner: int,
    ignored_labels: int,
    reset: int,
    confusion: Any,
    bad_label: Any,
) -> list[Launch]:
    def launch(entry: str, count: int, *names: str) -> Launch:
        return Launch(entry, (-(-count // THREADS),), (THREADS,), (count, *names))

    written = "confusion", "bad_label"
    names = "bottom_data", "label_data", "ignored", "channels", "inner", "ignored_labels", *written
    counted = [launch("seg_accuracy_count", label_data.size, *names)] if label_data.size else []
    return [launch("seg_accuracy_clear", confusion.size, "reset", *written), *counted]


@kernel("seg_accuracy.cu", plan=_count_plan)
def seg_accuracy_count(
    bottom_data: Floats,
    label_data: Floats,
    ignored: Ints,
    channels: int,
    inner: int,
    ignored_labels: int,
    reset: int,
    confusion: Ints,
    bad_label: Ints,
) -> None:
    """confusion[label, best class] = in how many places that is so, plus what it was if not `reset`; bad_label[0] = the
    first place whose label is neither a class nor ignored, or -1. Of equal scores the last one is best."""
    scores, labels = bottom_data.reshape(-1, channels, inner), label_data.reshape(-1, inner)
    best, score = np.zeros(labels.shape, np.intp), scores[:, 0].copy()
    for c in range(1, channels):
        better = ~(scores[:, c] < score)
        best[better] = c
        np.copyto(score, scores[:, c], where=better)
    counted = ~np.isin(np.trunc(labels), ignored)
    classes = (labels > -1) & (labels < channels)
    wrong = np.flatnonzero(counted & ~classes)
    bad_label[0] = wrong[0] if wrong.size else -1
    seen = counted & classes
    pairs = labels[seen].astype(np.intp) * channels + best[seen]
    found = np.bincount(pairs, minlength=channels * channels).reshape(confusion.shape)
    np.add(found, 0 if reset else confusion, out=confusion, casting="unsafe")


def _forward_plan(*_: Any) -> list[Launch]:
    names = "confusion", "label_data", "bad_label", "bad_value", "top_data"
    return [Launch("seg_accuracy_forward", (1,), (THREADS,), ("channels", *names))]


@kernel("seg_accuracy.cu", plan=_forward_plan)
def seg_accuracy_forward(
    confusion: Ints, label_data: Floats, bad_label: Ints, channels: int, bad_value: Floats, top_data: Floats
) -> None:
    """top = the share of hits, its mean over the classes that occur, the mean of intersection over union; bad_value[0]
    = label[bad_label[0]]"""
    hits, occur = np.diagonal(confusion).astype(np.float64), confusion.sum(axis=1)
    union = occur + confusion.sum(axis=0) - hits
    recall = hits / occur.clip(1)
    overlap = np.where(hits == union, 1, hits / union.clip(1))
    shares = hits.sum() / max(occur.sum(), 1), recall.sum() / max(np.count_nonzero(occur), 1), overlap.mean()
    top_data.reshape(-1)[...] = shares
    bad_value[0] = label_data.reshape(-1)[bad_label[0]] if bad_label[0] >= 0 else 0
