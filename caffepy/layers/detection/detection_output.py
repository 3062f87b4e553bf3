"""DetectionOutput: an SSD's predictions, decoded, and the best of what overlaps."""

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.layer import register
from caffepy.layers.detection.boxes import best_first, decode, suppress
from caffepy.layers.detection.detection import SSD, Detections, detections

T = TypeVar("T")

_LOWEST = float(np.finfo(np.float32).min)


@register("DetectionOutput", bottoms=(3, 5), tops=1)
class DetectionOutput(SSD, Detections):
    """locations (n, p * 4), confidences (n, p * c), priors (1, 2, p * 4) -> (1, 1, rows, 7): what was detected.

    A row is item, label, confidence, xmin, ymin, xmax, ymax. Each location is decoded relative to its prior by
    code_type, times the prior's variances unless variance_encoded_in_target. For every class but background_label_id
    the nms_param.top_k best confidences above confidence_threshold are looked at, best first: one that overlaps one
    kept before by more than nms_threshold is dropped, and the threshold is multiplied by eta for each that is kept,
    while above 0.5. Of all classes the keep_top_k best stay. Rows come by item, label and falling confidence; if
    nothing was found, one of item and -1 six times for each item. Without share_location there are p * c * 4 locations
    (Liu et al. 2016; SSD: detection_output_layer.cpp).

    With objectness_score or a fifth bottom the fourth (n, p * 2) is RefineDet's objectness: priors whose second number
    is below objectness_score are background; the fifth (n, p * 4) has locations that move the priors first (Zhang et
    al. 2018). Else the fourth, the image or the labels, goes unused. Nothing is drawn or written to files: visualize
    and save_output_param have no effect.
    """

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.detection_output_param
        if not p.num_classes:
            raise self.error("give num_classes, at least 1")
        if p.nms_param.nms_threshold < 0 or not 0 < p.nms_param.eta <= 1:
            raise self.error(
                f"nms_threshold: {p.nms_param.nms_threshold:g} must be at least 0, eta: {p.nms_param.eta:g} above 0 "
                "and at most 1"
            )
        self.confidence_threshold = p.confidence_threshold if p.HasField("confidence_threshold") else _LOWEST
        top_k = p.nms_param.top_k if p.nms_param.HasField("top_k") else -1
        self.top_k = None if top_k < 0 else top_k

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        p = self.param.detection_output_param
        self.settle(bottom_shapes, p.num_classes, 1 if p.share_location else p.num_classes)
        for index, (shape, values) in enumerate(zip(self._refining(bottom_shapes), (2, 4), strict=False), 3):
            if math.prod(shape) != bottom_shapes[0][0] * self.priors * values:
                raise self.error(
                    f"bottom {self.param.bottom[index]!r} has shape {shape}; it must have {values} numbers for each of "
                    f"{self.priors} priors of {bottom_shapes[0][0]} items"
                )
        return super().reshape(bottom_shapes)

    def detect(self, bottom: Sequence[Arrays]) -> list[Floats]:
        p = self.param.detection_output_param
        priors, variances = self.split(bottom[2])
        scale = np.float32(1) if p.variance_encoded_in_target else variances[:, None]
        priors = priors[:, None]
        refining = self._refining(bottom)
        if len(refining) > 1:
            priors = decode(refining[1].data.reshape(-1, self.priors, 1, 4), priors, scale, p.code_type)
        boxes = decode(self.locations(bottom[0]), priors, scale, p.code_type)
        scores = bottom[1].data.reshape(-1, self.priors, self.classes)
        if refining:
            empty = refining[0].data.reshape(-1, self.priors, 2)[..., 1] < np.float32(p.objectness_score)
            scores = np.where(empty[..., None], np.float32(np.arange(self.classes) == 0), scores)
        return [self._of_item(*of_item) for of_item in zip(boxes, scores, strict=True)]

    def _refining(self, bottom: Sequence[T]) -> Sequence[T]:
        """Objectness and first locations: RefineDet's, SSD has no use for a fourth bottom."""
        given = len(bottom) > 4 or self.param.detection_output_param.HasField("objectness_score")
        return bottom[3:] if given else ()

    def _of_item(self, boxes: Floats, scores: Floats) -> Floats:
        """The rows of boxes (p, loc_classes, 4), scores (p, c)."""
        p = self.param.detection_output_param
        found = [
            self._of_class(
                label, boxes[:, label if self.loc_classes > 1 else 0], np.ascontiguousarray(scores[:, label])
            )
            for label in range(self.classes)
            if label != p.background_label_id
        ]
        rows = np.concatenate([np.empty((0, 6), np.float32), *found])
        if -1 < p.keep_top_k < len(rows):
            rows = rows[np.sort(best_first(rows[:, 1])[: p.keep_top_k])]
        return rows

    def _of_class(self, label: int, boxes: Floats, scores: Floats) -> Floats:
        nms = self.param.detection_output_param.nms_param
        above = np.flatnonzero(scores > np.float32(self.confidence_threshold))
        order = above[best_first(scores[above])[: self.top_k]]
        kept = order[suppress(boxes[order], nms.nms_threshold, eta=nms.eta)]
        return detections(label, scores[kept], boxes[kept])
