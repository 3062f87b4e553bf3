"""CenterLoss: how far features are from the learned centres of their classes."""

import math
from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import State, register
from caffepy.layers.basis.labels import counted_labels
from caffepy.layers.basis.rows import gather_forward
from caffepy.layers.loss.euclidean_loss import euclidean_loss_backward, euclidean_loss_forward
from caffepy.layers.loss.loss import RowLoss


@register("CenterLoss", bottoms=2, tops=1)
class CenterLoss(RowLoss):
    """features (n, ...), labels (n of them) -> loss () (Wen et al. 2016, caffe-face: center_loss_layer.cpp).

    loss = sum over n of |features[n] - center[label[n]]|^2 / (2 n).

    Weights: the centres (num_output, values). Their diff does not depend on the top's: center[k]'s is the sum of
    center[k] - features[n] over the n of class k, over one more than there are of them.
    """

    param_reads = ("bottom",)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        super().setup(bottom_shapes)
        p, features = self.param.center_loss_param, bottom_shapes[0]
        if p.num_output < 1:
            raise self.error(f"num_output must be at least 1, got {p.num_output}")
        if self.canonical_axis(p.axis, features) != 1:
            raise self.error(f"axis: {p.axis} must be 1: a label belongs to each item")
        self.centers, self.values = p.num_output, math.prod(features[1:])
        self.add_weights((p.num_output, self.values), p.center_filler)

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        tops = super().reshape(bottom_shapes)
        if self.channels != self.values:
            raise self.error(f"bottom shape {bottom_shapes[0]} has {self.channels} values an item, not {self.values}")
        self.split_sum(self.num * self.values)
        self.nearest: State = self.state("nearest", (self.num, self.values))
        return tops

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        centers, nearest = self.params[0].data, self.nearest.array
        self.check_labels(bottom[1], self.centers)
        gather_forward(centers, bottom[1].data.reshape(-1), self.centers, self.num, nearest)
        euclidean_loss_forward(bottom[0].data, nearest, self.num * self.values, self.parts)
        self.finish(top[0], None, 2 * self.num)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        features, labels, centers = bottom[0].data, bottom[1].data, self.params[0]
        if self.param_propagate_down[0]:
            center_loss_backward_weights(features, labels, centers.data, self.num, self.values, centers.diff)
        if propagate_down[0]:
            euclidean_loss_backward(features, self.nearest.array, top[0].diff, self.num, bottom[0].diff)


@kernel("center_loss.cu", per="center_diff")
def center_loss_backward_weights(
    bottom_data: Floats, label_data: Floats, center_data: Floats, num: int, values: int, center_diff: Floats
) -> None:
    """center_diff[k] += (sum over the n of class k of center[k] - bottom[n]) / (1 + their number)"""
    classes = len(center_data)
    counted, chosen = counted_labels(label_data, num, classes, 1)
    there = counted[:, 0]
    places = chosen[there, 0, 0]
    away = np.zeros_like(center_data)
    np.add.at(away, places, center_data[places] - bottom_data.reshape(num, values)[there])
    members: Floats = np.bincount(places, minlength=classes).astype(np.float32)
    center_diff += away / (1 + members[:, None])
