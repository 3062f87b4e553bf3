"""R-FCN's losses that say what each region adds, and the choice of its hard examples."""

import math
from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import Layer, register
from caffepy.layers.basis.labels import LabelRule, counted_labels
from caffepy.layers.loss.smooth_l1_loss import SmoothL1Loss
from caffepy.layers.loss.softmax_loss import SoftmaxWithLoss
from caffepy.proto.caffe_pb2 import LossParameter


@register("SoftmaxWithLossOHEM", bottoms=2, tops=(1, 3))
class SoftmaxWithLossOHEM(SoftmaxWithLoss):
    """scores, labels -> loss (), the softmax as scores, losses as labels: SoftmaxWithLoss and what each label adds.

    losses = -log(softmax(scores)[label]), 0 where a label is ignored (Dai et al. 2016: R-FCN).
    """

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        return [*super().reshape(bottom_shapes), bottom_shapes[1]][: len(self.param.top)]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        super().forward(bottom, top[:2])
        for losses in top[2:]:
            softmax_loss_each(self.prob.array, bottom[1].data, *self.extent, losses.data, rule=self.rule)


@register("SmoothL1LossOHEM", bottoms=(2, 3), tops=(1, 2))
class SmoothL1LossOHEM(SmoothL1Loss):
    """first, second, optionally weights, all (n, c, ...) -> loss (), losses (n, 1, ...): what each place adds.

    losses = sum over c of f(weights * (first - second)), f as SmoothL1Loss's with sigma: 1; loss = their sum, divided
    by their number, by n for normalization: BATCH_SIZE, by pre_fixed_normalizer for PRE_FIXED (Dai et al. 2016: R-FCN).
    """

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        tops = super().reshape(bottom_shapes)
        first = bottom_shapes[0]
        if len(first) < 2:
            raise self.error(f"bottom {self.param.bottom[0]!r} must have 2 axes at least, got shape {first}")
        self.extent = first[0], first[1], math.prod(first[2:])
        self.num = self._divisor(LabelRule.read(self.param.loss_param))
        return [*tops, (first[0], 1, *first[2:])][: len(self.param.top)]

    def _divisor(self, rule: LabelRule) -> int:
        num, _, inner = self.extent
        if rule.normalization == LossParameter.PRE_FIXED:
            if rule.pre_fixed_normalizer < 1 or rule.pre_fixed_normalizer % 1:
                raise self.error(f"pre_fixed_normalizer: {rule.pre_fixed_normalizer:g} must be a whole number above 0")
            return int(rule.pre_fixed_normalizer)
        if rule.normalization == LossParameter.NONE:
            return 1
        return num if rule.normalization == LossParameter.BATCH_SIZE else num * inner

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        super().forward(bottom, top[:1])
        weights = bottom[2].data if len(bottom) > 2 else None
        for losses in top[1:]:
            smooth_l1_loss_each(bottom[0].data, bottom[1].data, weights, *self.extent, losses.data)


@register("BoxAnnotatorOHEM", bottoms=4, tops=2)
class BoxAnnotatorOHEM(Layer):
    """regions (n, 5), losses, labels (n values each), weights (n, ...) -> labels, weights: of the hard examples only.

    Of each item's regions (item, x1, y1, x2, y2) the roi_per_img with the highest losses keep their labels and weights,
    the others get ignore_label and zeros (Shrivastava et al. 2016; Dai et al. 2016: R-FCN). The host chooses.
    """

    host = True
    reads = ()

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.box_annotator_ohem_param
        if not p.roi_per_img:
            raise self.error("give roi_per_img, how many regions of an image are kept")
        self.most, self.ignore_label = p.roi_per_img, p.ignore_label

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        regions, losses, labels, weights = bottom_shapes
        if len(regions) < 2 or math.prod(regions[1:]) != 5:
            raise self.error(f"bottom 0 must have 5 numbers for each region, item, x1, y1, x2, y2, got shape {regions}")
        if not math.prod(losses) == math.prod(labels) == regions[0] == weights[0]:
            raise self.error(
                f"there are {regions[0]} regions; give as many losses, labels and weights, got shapes {losses}, "
                f"{labels} and {weights}"
            )
        return [labels, weights]

    def differentiable(self, bottom_index: int) -> bool:
        return False

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        regions, losses, labels, weights = (b.data for b in bottom)
        hard = hard_examples(regions.reshape(len(weights), 5)[:, 0], losses.reshape(-1), self.most)
        top[0].data[...] = np.where(hard.reshape(labels.shape), labels, self.ignore_label)
        top[1].data[...] = np.where(hard.reshape(-1, *(1,) * (weights.ndim - 1)), weights, 0)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        """There are no derivatives."""


def hard_examples(items: Floats, losses: Floats, most: int) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """(n): whether the region is among its item's `most` with the highest losses; of equal ones the first."""
    hard = np.zeros(losses.shape[0], np.bool_)
    order = np.argsort(-losses, kind="stable")
    for item in np.unique(items):
        hard[order[items[order] == item][:most]] = True
    return hard


@kernel("softmax_loss_each.cu", per="losses")
def softmax_loss_each(
    prob: Floats, label_data: Floats, outer: int, channels: int, inner: int, losses: Floats, *, rule: LabelRule
) -> None:
    """losses[o, i] = -log(max(prob[o, label, i], FLT_MIN)), label = label[o, i], 0 where it does not count"""
    counted, chosen = counted_labels(label_data, outer, channels, inner, rule)
    of_label = np.take_along_axis(prob.reshape(outer, channels, inner), chosen, axis=1)[:, 0]
    each = -np.log(np.maximum(of_label, np.finfo(np.float32).tiny))
    np.copyto(losses.reshape(outer, inner), np.where(counted, each, np.float32(0)))


@kernel("smooth_l1_loss_each.cu", per="losses")
def smooth_l1_loss_each(
    first_data: Floats,
    second_data: Floats,
    weight_data: Floats | None,
    num: int,
    channels: int,
    inner: int,
    losses: Floats,
) -> None:
    """losses[n, i] = sum over c of f(weight * (first - second)); f(x) = x^2 / 2 where |x| < 1, else |x| - 1 / 2"""
    x = first_data.reshape(num, channels, inner) - second_data.reshape(num, channels, inner)
    if weight_data is not None:
        x *= weight_data.reshape(x.shape)
    size = np.abs(x)
    each = np.where(size < 1, x * x * np.float32(0.5), size - np.float32(0.5))
    np.copyto(losses.reshape(num, inner), each.sum(axis=1, dtype=np.float32))
