"""Accuracy: how many labels are among the best predictions."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from caffepy.blob import Arrays, Floats, Ints, Shape
from caffepy.kernels import Launch, kernel
from caffepy.layer import State, register
from caffepy.layers.basis.labels import LabelChecks, LabelRule, counted_labels
from caffepy.layers.basis.row_plan import block_per_row, block_per_share, shares_of
from caffepy.proto.caffe_pb2 import LossParameter


@register("Accuracy", bottoms=2, tops=(1, 2))
class Accuracy(LabelChecks):
    """scores (outer..., c, inner...), labels (outer * inner of them) -> the share of labels that are hits (), and
    optionally each class's share (c): 0 for one without labels. It has no derivative.

    A label is a hit if fewer than top_k other classes along `axis` score as much or more; labels that are ignore_label
    count nowhere (Caffe: accuracy_layer.cpp).
    """

    reads = ()
    label_words = "label", "classes", "mend it, or name it in accuracy_param: ignore_label"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.accuracy_param
        self.rule = LabelRule(p.HasField("ignore_label"), p.ignore_label, LossParameter.NONE)

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        scores, labels = bottom_shapes
        p = self.param.accuracy_param
        axis = self.canonical_axis(p.axis, scores)
        self.extent = outer, _, inner = self.lay_out_labels(scores, labels, axis)
        if not 1 <= p.top_k <= scores[axis]:
            raise self.error(f"top_k: {p.top_k} must be at least 1 and at most {scores[axis]}, the number of classes")
        self.settle_check()
        self.hits: State = self.state("hits", (outer * inner,), np.int32)
        self.reserve_workspace(2 * shares_of(1, outer * inner))
        return [(), (scores[axis],)][: len(self.param.top)]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        scores, label, hits = bottom[0].data, bottom[1].data, self.hits.array
        self.check_labels(bottom[1], self.extent[1], self.rule)
        accuracy_hits(scores, label, *self.extent, self.param.accuracy_param.top_k, hits, rule=self.rule)
        accuracy_forward(hits, hits.size, self.workspace, top[0].data)
        for per_class in top[1:]:
            accuracy_per_class(hits, label, hits.size, per_class.data)

    def differentiable(self, bottom_index: int) -> bool:
        return False

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        """There is no derivative."""


def _hits_plan(bottom_data: Any, label_data: Any, outer: int, channels: int, *_: Any, rule: LabelRule) -> list[Launch]:
    names = ("bottom_data", "label_data", "outer", "channels", "inner", "top_k", "hits")
    return block_per_row("accuracy_hits", names, label_data.size, channels)


@kernel("accuracy.cu", plan=_hits_plan)
def accuracy_hits(
    bottom_data: Floats,
    label_data: Floats,
    outer: int,
    channels: int,
    inner: int,
    top_k: int,
    hits: Ints,
    *,
    rule: LabelRule,
) -> None:
    """hits[o, i] = 1 if bottom[o, c, i] >= bottom[o, label[o, i], i] for fewer than top_k other c, else 0

    -1 where the label is ignored or no class. A NaN is no hit, and better than all others.
    """
    counted, chosen = counted_labels(label_data, outer, channels, inner, rule)
    scores = bottom_data.reshape(outer, channels, inner)
    better = ~(scores < np.take_along_axis(scores, chosen, axis=1))
    hits.reshape(outer, inner)[...] = np.where(counted, np.count_nonzero(better, axis=1) <= top_k, -1)


def _forward_plan(hits: Any, labels: int, workspace: Any, top_data: Any) -> list[Launch]:
    shares = shares_of(1, labels)
    return [
        *block_per_share("accuracy_parts", ("hits", "labels", "workspace"), 1, shares),
        *block_per_row("accuracy_forward", ("workspace", "top_data", shares), 1, shares),
    ]


@kernel("accuracy_shares.cu", plan=_forward_plan)
def accuracy_forward(hits: Ints, labels: int, workspace: Floats, top_data: Floats) -> None:
    """top = hits that are 1 / hits that are not -1; 0 where there are none"""
    top_data[...] = np.sum(hits == 1) / np.sum(hits >= 0).clip(1)


@kernel("accuracy_shares.cu", rows="top_data")
def accuracy_per_class(hits: Ints, label_data: Floats, labels: int, top_data: Floats) -> None:
    """top[c] = the same over the labels that are c"""
    found = label_data.reshape(-1)[hits >= 0].astype(np.intp), hits[hits >= 0]
    of_class = np.bincount(found[0], minlength=top_data.size)
    np.divide(np.bincount(*found, minlength=top_data.size), of_class.clip(1), out=top_data, casting="unsafe")
