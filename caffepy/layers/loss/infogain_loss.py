"""InfogainLoss: SoftmaxWithLoss with a cost for every pair of label and class."""

import math
from collections.abc import Sequence

import numpy as np
from google.protobuf.message import DecodeError

from caffepy.blob import Arrays, Floats, Shape
from caffepy.data.files import read_file
from caffepy.errors import ProtoError
from caffepy.kernels import kernel
from caffepy.layer import State, register
from caffepy.layers.basis.labels import LabelRule, counted_labels
from caffepy.layers.loss.loss import LOG_THRESHOLD, add_up
from caffepy.layers.loss.softmax_loss import SoftmaxLoss
from caffepy.proto.caffe_pb2 import BlobProto
from caffepy.proto.stored import blob_array


@register("InfogainLoss", bottoms=(2, 3), tops=(1, 2))
class InfogainLoss(SoftmaxLoss):
    """scores (outer..., c, inner...), labels (outer * inner of them), optionally infogain (c * c values) -> loss (),
    and optionally the softmax as scores.

    loss = sum of -infogain[label, c] * log(max(softmax(scores)[c], 1e-20)) over classes c and the labels that are not
    ignored, divided by the normalizer. Without bottom 2 infogain is the BlobProto in the file `source`
    (Caffe: infogain_loss_layer.cpp).
    """

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        super().setup(bottom_shapes)
        self.matrix: Floats | None = self._read() if len(bottom_shapes) < 3 else None

    def _read(self) -> Floats:
        source = self.param.infogain_loss_param.source
        if not source:
            raise self.error(
                "needs the infogain matrix: give infogain_loss_param { source }, a file, or a third bottom"
            )
        with self.named():
            content = read_file(source)
        try:
            return blob_array(BlobProto.FromString(content))
        except (DecodeError, ProtoError) as error:
            raise self.error(
                f"source {source!r} is not a binary BlobProto ({error}); save the matrix as one"
            ) from error

    def axis_of(self, scores: Shape) -> int:
        return self.canonical_axis(self.param.infogain_loss_param.axis, scores)

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        tops = super().reshape(bottom_shapes)
        outer, classes, inner = self.extent
        shape = bottom_shapes[2] if self.matrix is None else self.matrix.shape
        if math.prod(shape) != classes * classes:
            where = f"source {self.param.infogain_loss_param.source!r}" if self.matrix is not None else "bottom 2"
            raise self.error(
                f"the infogain matrix of {where} has shape {shape}; {classes} classes need {classes}^2 values"
            )
        if self.matrix is not None:
            self.infogain: State = self.state("infogain", (classes, classes))
            self.infogain.set(self.matrix.reshape(classes, classes))
        self.row_sums: State = self.state("row_sums", (classes,))
        self.split_sum(outer * classes * inner)
        return tops

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        self.predict(bottom, top)
        infogain = self._infogain(bottom)
        infogain_row_sums(infogain, self.extent[1], self.row_sums.array, rule=self.rule)
        infogain_loss_forward(self.prob.array, bottom[1].data, infogain, *self.extent, self.parts, rule=self.rule)
        self.finish(top[0], self.normalizer.array, 1)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if propagate_down[0]:
            infogain_loss_backward(
                self.prob.array,
                bottom[1].data,
                self._infogain(bottom),
                self.row_sums.array,
                *self.extent,
                self.normalizer.array,
                top[0].diff,
                bottom[0].diff,
                rule=self.rule,
            )

    def _infogain(self, bottom: Sequence[Arrays]) -> Floats:
        infogain: Floats = bottom[2].data if self.matrix is None else self.infogain.array
        return infogain


@kernel("infogain_loss.cu", per="row_sums")
def infogain_row_sums(infogain: Floats, channels: int, row_sums: Floats, *, rule: LabelRule) -> None:
    """row_sums[l] = sum over c of infogain[l, c]"""
    np.sum(infogain.reshape(channels, channels), axis=1, out=row_sums)


@kernel("infogain_loss.cu", rows="parts", threads=512)
def infogain_loss_forward(
    prob: Floats,
    label_data: Floats,
    infogain: Floats,
    outer: int,
    channels: int,
    inner: int,
    parts: Floats,
    *,
    rule: LabelRule,
) -> None:
    """parts = partial sums over o, c, i of -infogain[label[o, i], c] * log(max(prob[o, c, i], 1e-20)) over the labels
    that count"""
    losses = np.log(np.maximum(prob.reshape(outer, channels, inner), LOG_THRESHOLD))
    losses *= -_of_label(label_data, infogain, outer, channels, inner, rule)
    add_up(losses, parts)


@kernel("infogain_loss.cu", per="bottom_diff")
def infogain_loss_backward(
    prob: Floats,
    label_data: Floats,
    infogain: Floats,
    row_sums: Floats,
    outer: int,
    channels: int,
    inner: int,
    normalizer: Floats,
    top_diff: Floats,
    bottom_diff: Floats,
    *,
    rule: LabelRule,
) -> None:
    """bottom_diff[o, c, i] = (prob[o, c, i] * row_sums[label] - infogain[label, c]) * top_diff / normalizer, label =
    label[o, i], 0 where it does not count"""
    counted, chosen = counted_labels(label_data, outer, channels, inner, rule)
    dx = bottom_diff.reshape(outer, channels, inner)
    np.multiply(prob.reshape(outer, channels, inner), np.where(counted[:, None], row_sums[chosen], 0), out=dx)
    dx -= _of_label(label_data, infogain, outer, channels, inner, rule)
    dx *= top_diff.reshape(1) / normalizer


def _of_label(label_data: Floats, infogain: Floats, outer: int, channels: int, inner: int, rule: LabelRule) -> Floats:
    """(outer, channels, inner): each label's row of infogain, 0 where it does not count."""
    counted, chosen = counted_labels(label_data, outer, channels, inner, rule)
    rows: Floats = np.where(counted[..., None], infogain.reshape(channels, channels)[chosen[:, 0]], np.float32(0))
    return rows.swapaxes(1, 2)
