"""MultiBoxLoss: how far an SSD's predictions are from the objects that are there."""

import math
from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.layer import register
from caffepy.layers.activation.softmax import softmax_forward
from caffepy.layers.basis.labels import ALL_COUNT, LabelRule
from caffepy.layers.detection.detection import SSD, known_objects
from caffepy.layers.detection.multibox_examples import (
    UNMATCHED,
    Item,
    Truth,
    class_losses,
    examples,
    location_losses,
    location_targets,
    one_hot,
)
from caffepy.layers.loss.euclidean_loss import euclidean_loss_backward
from caffepy.layers.loss.loss import Loss, loss_normalizer
from caffepy.layers.loss.sigmoid_cross_entropy_loss import sigmoid_cross_entropy_loss_backward
from caffepy.layers.loss.smooth_l1_loss import smooth_l1_loss_backward
from caffepy.layers.loss.softmax_loss import softmax_loss_backward
from caffepy.limits import STEP
from caffepy.proto.caffe_pb2 import MultiBoxLossParameter

NONE, MAX_NEGATIVE = MultiBoxLossParameter.NONE, MultiBoxLossParameter.MAX_NEGATIVE


@register("MultiBoxLoss", bottoms=4, tops=1)
class MultiBoxLoss(SSD, Loss):
    """locations (n, p * 4), scores (n, p * c), priors (1, 2, p * 4), objects (1, 1, g, 8) -> loss ().

    An object is item, label, a number, xmin, ymin, xmax, ymax, difficult; item -1 is none. Each object in turn, the
    pair that overlaps most first, matches a prior; with PER_PREDICTION so does every other prior its best object, if by
    overlap_threshold. A matched prior is a positive: its location should be the object's box in code_type, its class
    the object's. Negatives should be background: with MAX_NEGATIVE, for each item the priors that overlap every object
    less than neg_overlap and have the largest losses, neg_pos_ratio for each positive; with HARD_EXAMPLE those among
    the sample_size priors of largest losses, the positives not among them being dropped; with nms_param only what
    remains after suppression counts. Items without objects have no negatives then. With mining_type NONE all priors
    count. loss = (loc_weight * location losses + class losses) / normalizer, where VALID stands for the positives;
    propagate_down: false leaves that half out. Locations and scores have a derivative (Liu et al. 2016; SSD:
    multibox_loss_layer.cpp).
    """

    host = True
    reads = ()

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.p = self.param.multibox_loss_param
        self.softmax = p.conf_loss_type == MultiBoxLossParameter.SOFTMAX
        if not p.num_classes or (self.softmax and p.background_label_id >= p.num_classes):
            raise self.error(f"num_classes: {p.num_classes} must be above background_label_id: {p.background_label_id}")
        self.mining: int = p.mining_type
        if p.HasField("do_neg_mining"):
            if not p.HasField("mining_type"):
                self.mining = MAX_NEGATIVE if p.do_neg_mining else NONE
            elif p.do_neg_mining != (self.mining != NONE):
                raise self.error("do_neg_mining and mining_type contradict each other; give mining_type alone")
        if self.mining != NONE and not p.share_location:
            raise self.error("mining needs share_location: true; give that, or mining_type: NONE")
        if p.sample_size < 1:
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
            raise self.error(f"bottom {self.param.bottom[3]!r} must have 8 numbers for each object, got {objects}")
        pairs = math.prod(objects) // 8 * self.priors
        self.reserve_work(bottom_shapes[0][0] * self.loc_classes * STEP + 10 * pairs)
        return super().reshape(bottom_shapes)

    def differentiable(self, bottom_index: int) -> bool:
        return bottom_index < 2

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        codes, scores, priors, variances = self._all(bottom)
        truth = self._truth(bottom[3].data.reshape(-1, 8), len(codes))
        labels = np.full(scores.shape[:2], self.p.background_label_id if self.softmax else UNMATCHED)
        counts = np.full(scores.shape[:2], self.mining == NONE)
        matched = np.full((len(codes), self.loc_classes, self.priors), UNMATCHED)
        for item in np.unique(truth.items):
            of_item = Item(codes[item], scores[item], priors, variances)
            found = examples(self.p, self.mining, of_item, truth, np.flatnonzero(truth.items == item))
            matched[item] = found.matched
            counts[item, found.negatives], labels[item, found.negatives] = True, self.p.background_label_id
        items, loc_classes, at = np.nonzero(matched >= 0)
        objects = matched[items, loc_classes, at]
        counts[items, at], labels[items, at] = True, truth.labels[objects]
        self.located, self.scored = (items, at, loc_classes), np.nonzero(counts)
        positives = Item(codes[self.located], scores[items, at], priors[at], variances[at])
        self.location = location_targets(self.p, positives, truth.boxes[objects])
        self.score = scores[self.scored], labels[self.scored]
        self.normalizer = np.empty(1, np.float32)
        loss_normalizer(np.zeros(len(at), np.float32), len(codes), self.priors, self.normalizer, rule=self.rule)
        losses = location_losses(self.p, *self.location[:2]), class_losses(self.p, *self.score)
        total = sum(weight * of.sum(dtype=np.float64) for weight, of in zip(self.weights, losses, strict=True))
        top[0].data[...] = total / self.normalizer[0]

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if propagate_down[0]:
            bottom[0].diff[...] = 0
            diff = bottom[0].diff.reshape(-1, self.priors, self.loc_classes, 4)
            diff[self.located] = self._location_diff(
                top[0].diff.reshape(1) * np.float32(self.weights[0]) / self.normalizer
            )
        if propagate_down[1]:
            bottom[1].diff[...] = 0
            diff = bottom[1].diff.reshape(-1, self.priors, self.classes)
            diff[self.scored] = self._score_diff(top[0].diff.reshape(1) * np.float32(self.weights[1]))

    def _all(self, bottom: Sequence[Arrays]) -> Item:
        """Locations and scores of all items, and the priors."""
        boxes, variances = self.split(bottom[2])
        return Item(self.locations(bottom[0]), bottom[1].data.reshape(-1, self.priors, self.classes), boxes, variances)

    def _truth(self, rows: Floats, items: int) -> Truth:
        """The objects that count."""
        classes = np.inf if self.p.map_object_to_agnostic else self.classes
        rows = known_objects(self, 3, rows, classes, self.p.background_label_id, items)
        rows = rows[self.p.use_difficult_gt | (rows[:, 7] == 0)]
        labels = rows[:, 1].astype(np.intp)
        if self.p.map_object_to_agnostic:
            labels[:] = 1 - self.p.background_label_id
        return Truth(rows[:, 0].astype(np.intp), labels, np.ascontiguousarray(rows[:, 3:7]))

    def _location_diff(self, top_diff: Floats) -> Floats:
        """(positives, 4)"""
        pred, goal, scale = self.location
        diff = np.empty_like(pred)
        if self.p.loc_loss_type == MultiBoxLossParameter.L2:
            euclidean_loss_backward(pred, goal, top_diff, 1, diff)
        else:
            smooth_l1_loss_backward(pred, goal, None, None, top_diff, 1, diff, sigma=1.0)
        return diff * scale

    def _score_diff(self, top_diff: Floats) -> Floats:
        """(priors that count, classes)"""
        scores, labels = self.score
        diff = np.empty_like(scores)
        if self.softmax:
            (num, classes), prob, given = scores.shape, np.empty_like(scores), labels.astype(np.float32)
            softmax_forward(scores, num, classes, 1, prob)
            softmax_loss_backward(prob, given, None, num, classes, 1, self.normalizer, top_diff, diff, rule=ALL_COUNT)
        else:
            sigmoid_cross_entropy_loss_backward(
                scores, one_hot(labels, scores), self.normalizer, top_diff, diff, rule=ALL_COUNT
            )
        return diff
