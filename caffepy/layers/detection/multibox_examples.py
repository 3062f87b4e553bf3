"""MultiBoxLoss's examples: which priors should see which object, which should see none, and what each prior loses."""

from typing import NamedTuple

import numpy as np

from caffepy.blob import Floats
from caffepy.layers.activation.softmax import softmax_forward
from caffepy.layers.basis.labels import ALL_COUNT
from caffepy.layers.detection.boxes import Indices, areas, best_first, decode, encode, match, suppress
from caffepy.layers.loss.euclidean_loss import euclidean_loss_forward
from caffepy.layers.loss.sigmoid_cross_entropy_loss import sigmoid_cross_entropy_loss_forward
from caffepy.layers.loss.smooth_l1_loss import smooth_l1_loss_forward
from caffepy.layers.loss.softmax_loss import softmax_loss_forward
from caffepy.proto.caffe_pb2 import MultiBoxLossParameter

UNMATCHED, IGNORED = -1, -2
LEAST_AREA = np.float32(1e-5)
"""Smaller boxes are left out before suppression (SSD: bbox_util.cpp)."""


class Truth(NamedTuple):
    """The objects: which item they are of, their labels, their boxes (g, 4)."""

    items: Indices
    labels: Indices
    boxes: Floats


class Item(NamedTuple):
    """Its locations (priors, loc_classes, 4) and scores (priors, classes), and the priors and variances (priors, 4)."""

    codes: Floats
    scores: Floats
    priors: Floats
    variances: Floats


class Examples(NamedTuple):
    """For each location's class the object that a prior should see there, below 0 for none (loc_classes, priors); the
    priors that should see the background."""

    matched: Indices
    negatives: Indices


def examples(p: MultiBoxLossParameter, mining: int, item: Item, truth: Truth, objects: Indices) -> Examples:
    """Those of an item that has these objects."""
    matched, most = _matches(p, item, truth, objects)
    if mining == MultiBoxLossParameter.NONE:
        return Examples(matched, np.empty(0, np.intp))
    chosen = _hardest(p, mining, item, truth, matched[0], most)
    negatives = np.sort(chosen[matched[0, chosen] == UNMATCHED])
    if mining == MultiBoxLossParameter.HARD_EXAMPLE:
        dropped = np.setdiff1d(np.flatnonzero(matched[0] >= 0), chosen)
        matched[0, dropped] = UNMATCHED
    return Examples(matched, negatives)


def _matches(p: MultiBoxLossParameter, item: Item, truth: Truth, objects: Indices) -> tuple[Indices, Floats]:
    """The objects matched (loc_classes, priors), and the most that a prior overlaps any."""
    loc_classes = item.codes.shape[1]
    if p.use_prior_for_matching:
        matched, most = _match(p, item.priors, truth, objects)
        of_class = np.where(matched >= 0, truth.labels[np.maximum(matched, 0)], matched)
        at_class = [loc_classes == 1 or of_class == c for c in range(loc_classes)]
        return np.stack([np.where(here | (matched < UNMATCHED), matched, UNMATCHED) for here in at_class]), most
    found = []
    for c in range(loc_classes):
        of = objects if loc_classes == 1 else objects[truth.labels[objects] == c]
        found.append(_match(p, decoded(p, item.codes[:, c], item.priors, item.variances), truth, of))
    return np.stack([matched for matched, _ in found]), found[0][1]


def _match(p: MultiBoxLossParameter, boxes: Floats, truth: Truth, objects: Indices) -> tuple[Indices, Floats]:
    each = p.overlap_threshold if p.match_type == MultiBoxLossParameter.PER_PREDICTION else None
    inside = ((boxes >= 0) & (boxes <= 1)).all(axis=1) | (not p.ignore_cross_boundary_bbox)
    matched, most = np.full(len(boxes), IGNORED), np.zeros(len(boxes), np.float32)
    index, most[inside] = match(boxes[inside], truth.boxes[objects], each=each)
    matched[inside] = np.append(objects, UNMATCHED)[index]
    return matched, most


def _hardest(
    p: MultiBoxLossParameter, mining: int, item: Item, truth: Truth, matched: Indices, most: Floats
) -> Indices:
    """The priors of largest losses: as many negatives as neg_pos_ratio says, or sample_size of all."""
    positives = np.flatnonzero(matched >= 0)
    labels = np.full(len(matched), p.background_label_id)
    labels[positives] = truth.labels[matched[positives]]
    losses = class_losses(p, item.scores, labels)
    if mining == MultiBoxLossParameter.HARD_EXAMPLE:
        eligible, number = np.arange(len(matched)), p.sample_size
        pred, goal, _ = location_targets(p, Item(*(of[positives] for of in item)), truth.boxes[matched[positives]])
        losses[positives] += location_losses(p, pred, goal)
    else:
        eligible = np.flatnonzero((matched == UNMATCHED) & (most < np.float32(p.neg_overlap)))
        number = int(np.float32(len(positives)) * np.float32(p.neg_pos_ratio))
    order = eligible[best_first(losses[eligible])]
    if p.HasField("nms_param") and p.nms_param.nms_threshold > 0:
        boxes = item.priors if p.use_prior_for_nms else decoded(p, item.codes[:, 0], item.priors, item.variances)
        if p.nms_param.HasField("top_k") and p.nms_param.top_k > -1:
            order = order[: p.nms_param.top_k]
        order = order[areas(boxes[order]) >= LEAST_AREA]
        order = order[suppress(boxes[order], p.nms_param.nms_threshold, most=number)]
    return order[:number]


def decoded(p: MultiBoxLossParameter, codes: Floats, priors: Floats, variances: Floats) -> Floats:
    """The boxes that the locations mean."""
    return decode(codes, priors, np.float32(1) if p.encode_variance_in_target else variances, p.code_type)


def location_targets(p: MultiBoxLossParameter, at: Item, boxes: Floats) -> tuple[Floats, Floats, Floats]:
    """For positives `at` (k, 1, 4): what the locations are, what they should be, and the derivative of the former.

    The locations are divided by the variances with encode_variance_in_target; with bp_inside they are what they should
    be where the prior, or without use_prior_for_matching the predicted box, leaves the image.
    """
    codes = at.codes.reshape(-1, 4)
    goal = encode(boxes, at.priors, at.variances, p.code_type)
    scale: Floats = np.float32(1) / at.variances if p.encode_variance_in_target else np.ones_like(at.variances)
    pred: Floats = codes * scale
    if p.bp_inside:
        corners = at.priors if p.use_prior_for_matching else decoded(p, codes, at.priors, at.variances)
        np.copyto(pred, goal, where=(corners < 0) | (corners > 1))
    return pred, goal, scale


def location_losses(p: MultiBoxLossParameter, pred: Floats, goal: Floats) -> Floats:
    """(k) of (k, 4)"""
    losses = np.empty(len(pred), np.float32)
    if not losses.size:
        return losses
    if p.loc_loss_type == MultiBoxLossParameter.L2:
        euclidean_loss_forward(pred, goal, pred.size, losses)
        losses /= 2
    else:
        smooth_l1_loss_forward(pred, goal, None, None, pred.size, losses, sigma=1.0)
    return losses


def class_losses(p: MultiBoxLossParameter, scores: Floats, labels: Indices) -> Floats:
    """(k) of scores (k, classes)"""
    losses = np.empty(len(scores), np.float32)
    if not losses.size:
        return losses
    if p.conf_loss_type == MultiBoxLossParameter.SOFTMAX:
        (num, classes), prob = scores.shape, np.empty_like(scores)
        softmax_forward(scores, num, classes, 1, prob)
        softmax_loss_forward(prob, labels.astype(np.float32), None, num, classes, 1, losses, rule=ALL_COUNT)
    else:
        sigmoid_cross_entropy_loss_forward(scores, one_hot(labels, scores), scores.size, losses, rule=ALL_COUNT)
    return losses


def one_hot(labels: Indices, scores: Floats) -> Floats:
    """As the scores (k, classes): 1 at the label, if it is a class."""
    targets: Floats = (labels[:, None] == np.arange(scores.shape[1])).astype(np.float32)
    return targets
