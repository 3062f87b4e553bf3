"""DetectionOutput: an SSD's predictions, decoded, and the best of what overlaps."""

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from caffepy.blob import Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import register
from caffepy.layers.detection.boxes import decode, suppression_work
from caffepy.layers.detection.detection import SSD, Counted
from caffepy.layers.detection.nms import keep_best, nms, write_detections

T = TypeVar("T")

_LOWEST = float(np.finfo(np.float32).min)


@register("DetectionOutput", bottoms=(3, 5), tops=1)
class DetectionOutput(SSD, Counted):
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
        items, most = bottom_shapes[0][0], self.priors if self.top_k is None else min(self.priors, self.top_k)
        self.reserve_work(items * self.classes * suppression_work(most))
        self.reserve_lists(items, self.classes, self.loc_classes, self.priors, most)
        classes = self.classes - (0 <= p.background_label_id < self.classes)
        of_item = classes * most if p.keep_top_k < 0 else min(classes * most, p.keep_top_k)
        self.most_rows = items * max(1, of_item)
        return [(1, 1, 1, 7)]

    def room(self) -> tuple[int, Sequence[Shape]]:
        return 2, [(1, 1, self.most_rows, 7)]

    def run(self, bottom: Sequence[Any], memory: dict[str, Any], found: Sequence[Any]) -> None:
        p, refining = self.param.detection_output_param, self._refining(bottom)
        boxes, scores, kept, counts = (memory[name] for name in ("boxes", "scores", "kept", "counts"))
        decode_boxes(
            bottom[0],
            refining[1] if len(refining) > 1 else None,
            bottom[2],
            self.priors,
            self.loc_classes,
            p.code_type,
            int(p.variance_encoded_in_target),
            boxes,
        )
        objectness, least = refining[0] if refining else None, p.objectness_score
        of_each = self.classes, self.priors, p.background_label_id, self.confidence_threshold
        candidate_scores(bottom[1], objectness, *of_each, least, scores)
        room = self.memory["kept"].shape[1]
        sizes = self.loc_classes, self.classes, self.priors
        threshold, eta = p.nms_param.nms_threshold, p.nms_param.eta
        nms(boxes, scores, *sizes, room, room, threshold, eta, 0, memory["workspace"], kept, counts)
        if p.keep_top_k >= 0:
            keep_best(scores, kept, *sizes[1:], room, p.keep_top_k, memory["workspace"], counts)
        write_detections(boxes, scores, kept, counts, *sizes, room, memory["rows"], found[0])

    def _refining(self, bottom: Sequence[T]) -> Sequence[T]:
        """Objectness and first locations: RefineDet's, SSD has no use for a fourth bottom."""
        given = len(bottom) > 4 or self.param.detection_output_param.HasField("objectness_score")
        return bottom[3:] if given else ()


@kernel("candidates.cu", per="boxes", each=4)
def decode_boxes(
    location: Floats,
    first_location: Floats | None,
    prior: Floats,
    number: int,
    loc_classes: int,
    code_type: int,
    encoded: int,
    boxes: Floats,
) -> None:
    """boxes (n, number, loc_classes, 4) = what `location` means relative to the priors, moved by first_location before.

    prior (2, number, 4) has boxes and variances, which are 1 if `encoded`. See caffepy.layers.detection.boxes.decode.
    """
    priors, variances = prior.reshape(2, number, 1, 4)
    scale = np.float32(1) if encoded else variances
    if first_location is not None:
        priors = decode(first_location.reshape(-1, number, 1, 4), priors, scale, code_type)
    boxes[...] = decode(location.reshape(boxes.shape), priors, scale, code_type)


@kernel("candidates.cu", per="scores")
def candidate_scores(
    confidence: Floats,
    objectness: Floats | None,
    classes: int,
    number: int,
    background: int,
    threshold: float,
    least_objectness: float,
    scores: Floats,
) -> None:
    """scores (n, classes, number) = confidence (n, number, classes) above the threshold, NaN elsewhere.

    NaN for the background, too. Where the second number of objectness (n, number, 2) is below least_objectness, class 0
    is sure.
    """
    given = confidence.reshape(len(scores), number, classes)
    if objectness is not None:
        empty = objectness.reshape(len(scores), number, 2)[..., 1:] < np.float32(least_objectness)
        given = np.where(empty, np.float32(np.arange(classes) == 0), given)
    scores[...] = np.where(given > np.float32(threshold), given, np.float32(np.nan)).transpose(0, 2, 1)
    if 0 <= background < classes:
        scores[:, background] = np.nan
