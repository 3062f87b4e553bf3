"""LabelSpecificAdd: a margin put on the score of the true class."""

from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import register
from caffepy.layers.basis.elementwise import copy_backward, copy_forward
from caffepy.layers.basis.labels import LabelChecks, counted_labels
from caffepy.proto.caffe_pb2 import TRAIN


@register("LabelSpecificAdd", bottoms=2, tops=1)
class LabelSpecificAdd(LabelChecks):
    """scores (n, ...), labels (n of them) -> the same; all values behind the first axis are classes. In place too.

    TRAIN: top = bottom, but top[n, label[n]] + bias where that is above -bias; TEST: top = bottom (Wang et al. 2018,
    AM-Softmax: label_specific_add_layer.cpp).
    """

    in_place = True
    reads = ()
    label_bottom = 1
    label_words = "label", "classes", "mend it"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.bias = self.param.label_specific_add_param.bias

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        scores, labels = bottom_shapes
        if len(scores) < 2 or int(np.prod(labels)) != scores[0]:
            raise self.error(f"bottom shapes {scores} and {labels}: give scores (n, classes), and n labels")
        self.settle_check()
        self.per_item = int(np.prod(scores[1:]))
        return [scores]

    def differentiable(self, bottom_index: int) -> bool:
        return bottom_index == 0

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        self.check_labels(bottom[1], self.per_item)
        if not self.runs_in_place:
            copy_forward(bottom[0].data, top[0].data)
        if self.phase == TRAIN:
            label_specific_add(bottom[1].data, self.bias, self.per_item, top[0].data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if propagate_down[0] and not self.runs_in_place:
            copy_backward(top[0].diff, bottom[0].diff)


@kernel("label_specific_add.cu", per="label_data")
def label_specific_add(label_data: Floats, bias: float, classes: int, top_data: Floats) -> None:
    """top[n, label[n]] += bias where it is above -bias"""
    scores = top_data.reshape(-1, classes)
    counted, chosen = counted_labels(label_data, len(scores), classes, 1)
    place = chosen[:, 0]
    own = np.take_along_axis(scores, place, axis=1)
    changed = np.where(counted & (own > np.float32(-bias)), own + np.float32(bias), own)
    np.put_along_axis(scores, place, changed, axis=1)
