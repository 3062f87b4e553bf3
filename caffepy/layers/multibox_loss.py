"""MultiBoxLoss: how far an SSD's predictions are from the objects that are there."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from caffepy.blob import Arrays, Floats, Shape
from caffepy.layer import register
from caffepy.layers.boxes import Indices, areas, best_first, decode, encode, match, suppress
from caffepy.layers.detection import SSD
from caffepy.layers.euclidean_loss import euclidean_loss_backward, euclidean_loss_forward
from caffepy.layers.loss import ALL_COUNT, LabelRule, Loss, loss_normalizer
from caffepy.layers.sigmoid_cross_entropy_loss import (
    sigmoid_cross_entropy_loss_backward,
    sigmoid_cross_entropy_loss_forward,
)
from caffepy.layers.smooth_l1_loss import smooth_l1_loss_backward, smooth_l1_loss_forward
from caffepy.layers.softmax import softmax_forward
from caffepy.layers.softmax_loss import softmax_loss_backward, softmax_loss_forward
from caffepy.proto.caffe_pb2 import MultiBoxLossParameter

UNMATCHED, IGNORED = -1, -2
LEAST_AREA = 1e-5
"""Smaller boxes are left out before suppression (SSD: bbox_util.cpp)."""

_ONE = np.ones(1, np.float32)


class Truth(NamedTuple):
    """The objects: which item they are of, their labels, their boxes (g, 4)."""

    items: Indices
    labels: Indices
    boxes: Floats


class Predictions(NamedTuple):
    """Of one item: locations (priors, loc_classes, 4) and scores (priors, classes); the priors (priors, 4), twice."""

    codes: Floats
    scores: Floats
    priors: Floats
    variances: Floats


@register("MultiBoxLoss", bottoms=4, tops=1)
class MultiBoxLoss(SSD, Loss):
    """locations (n, p * 4), scores (n, p * c), priors (1, 2, p * 4), objects (1, 1, g, 8) -> loss ().

    An object is item, label, a number, xmin, ymin, xmax, ymax, difficult; item -1 is none. Each object in turn, the pair
    that overlaps most first, matches a prior; with PER_PREDICTION so does every other prior its best object, if by
    overlap_threshold. A matched prior is a positive: its location should be the object's box in code_type, its class the
    object's. Negatives should be background: with MAX_NEGATIVE, for each item the priors that overlap every object less
    than neg_overlap and have the largest losses, neg_pos_ratio for each positive; with HARD_EXAMPLE those among the
    sample_size priors of largest losses, the other positives being dropped, each after suppression of overlapping ones if
    nms_param is given; else all priors. loss = (loc_weight * location losses + class losses) / normalizer, in which
    VALID counts the positives (Liu et al. 2016; SSD: multibox_loss_layer.cpp). propagate_down: false leaves that half
    out. Locations and scores have a derivative.
    """

    host = True
    reads = ()

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.p = self.param.multibox_loss_param
        self.softmax = p.conf_loss_type == MultiBoxLossParameter.SOFTMAX
        if not p.num_classes or (self.softmax and p.background_label_id >= p.num_classes):
            raise self.error(f"num_classes: {p.num_classes} must be above background_label_id: {p.background_label_id}")
        self.mining: int = p.mining_type
        if p.HasField("do_neg_mining") and not p.HasField("mining_type") and not p.do_neg_mining:
            self.mining = MultiBoxLossParameter.NONE
        if p.HasField("do_neg_mining") and p.do_neg_mining != (self.mining != MultiBoxLossParameter.NONE):
            raise self.error("do_neg_mining and mining_type contradict each other; give mining_type alone")
        if self.mining != MultiBoxLossParameter.NONE and not p.share_location:
            raise self.error("mining needs share_location: true; give that, or mining_type: NONE")
        if self.mining == MultiBoxLossParameter.HARD_EXAMPLE and p.sample_size < 1:
            raise self.error(f"sample_size: {p.sample_size} must be at least 1")
        if p.map_object_to_agnostic and p.num_classes != 2:
            raise self.error(f"map_object_to_agnostic needs num_classes: 2, object or not, got {p.num_classes}")
        rule = LabelRule.read(self.param.loss_param)
        self.rule = LabelRule(False, 0, rule.normalization, rule.pre_fixed_normalizer)
        down = [*self.param.propagate_down, True, True]
        self.weights = p.loc_weight * down[0], float(down[1])

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        self.settle(bottom_shapes, self.p.num_classes, 1 if self.p.share_location else self.p.num_classes)
        objects = bottom_shapes[3]
        if not objects or objects[-1] != 8:
            raise self.error(f"bottom {self.param.bottom[3]!r} must have 8 numbers for each object, got shape {objects}")
        return super().reshape(bottom_shapes)

    def differentiable(self, bottom_index: int) -> bool:
        return bottom_index < 2

    # ---- passes

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        codes, (priors, variances) = self.locations(bottom[0]), self.split(bottom[2])
        scores = bottom[1].data.reshape(-1, self.priors, self.classes)
        truth = self._truth(bottom[3].data.reshape(-1, 8), len(codes))
        labels = np.full(scores.shape[:2], UNMATCHED if not self.softmax else self.p.background_label_id)
        counts = np.full(scores.shape[:2], self.mining == MultiBoxLossParameter.NONE)
        positives = []
        for item in np.unique(truth.items):
            of_item = Predictions(codes[item], scores[item], priors, variances)
            matches, negatives = self._examples(of_item, truth, np.flatnonzero(truth.items == item))
            counts[item, negatives], labels[item, negatives] = True, self.p.background_label_id
            for loc_class, matched in enumerate(matches):
                chosen = np.flatnonzero(matched >= 0)
                counts[item, chosen], labels[item, chosen] = True, truth.labels[matched[chosen]]
                positives += [(item, prior, loc_class, matched[prior]) for prior in chosen]
        *where, objects = np.array(positives, np.intp).reshape(-1, 4).T
        self.located, self.scored = tuple(where), np.nonzero(counts)
        self.location = self._targets(codes[self.located], truth.boxes[objects], priors[where[1]], variances[where[1]])
        self.score = scores[self.scored], labels[self.scored]
        self.normalizer = np.empty(1, np.float32)
        loss_normalizer(np.zeros(len(objects), np.float32), *scores.shape[:2], self.normalizer, rule=self.rule)
        losses = self._loc_losses(*self.location[:2]), self._conf_losses(*self.score)
        loss = sum(weight * of.sum(dtype=np.float64) for weight, of in zip(self.weights, losses, strict=True))
        top[0].data[...] = loss / self.normalizer[0]

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        for arrays, down in zip(bottom[:2], propagate_down, strict=False):
            if down:
                arrays.diff[...] = 0
        if propagate_down[0] and len(self.located[0]):
            pred, goal, scale = self.location
            diff, of_loss = np.empty_like(pred), top[0].diff * np.float32(self.weights[0]) / self.normalizer
            if self.p.loc_loss_type == MultiBoxLossParameter.L2:
                euclidean_loss_backward(pred, goal, of_loss, 1, diff)
            else:
                smooth_l1_loss_backward(pred, goal, None, None, of_loss, 1, diff, sigma=1.0)
            self.locations_diff(bottom[0])[self.located] = diff * scale
        if propagate_down[1] and len(self.scored[0]):
            of_loss = top[0].diff * np.float32(self.weights[1])
            bottom[1].diff.reshape(-1, self.priors, self.classes)[self.scored] = self._conf_diff(*self.score, of_loss)

    def locations_diff(self, arrays: Arrays) -> Floats:
        """(n, priors, loc_classes, 4)"""
        diff: Floats = arrays.diff.reshape(-1, self.priors, self.loc_classes, 4)
        return diff
