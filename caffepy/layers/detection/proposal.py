"""Proposal: the boxes that a region proposal network finds most likely to hold something."""

import math
from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.layer import register
from caffepy.layers.detection.boxes import best_first, decode, suppress
from caffepy.layers.detection.detection import Found
from caffepy.proto.caffe_pb2 import PriorBoxParameter

_LAST_PIXEL = np.array([0, 0, 1, 1], np.float32)
"""Boxes here contain their last row and column."""


@register("Proposal", bottoms=3, tops=(1, 2))
class Proposal(Found):
    """scores (n, 2 a, h, w), deltas (n, 4 a, h, w), images (n, 3 or more) -> regions (r, 5), optionally scores (r).

    A region is item, x1, y1, x2, y2 in pixels, the last ones included. There are a anchors, one for each `ratio` and
    `scale`: height / width and size of a square of base_size; by default 0.5, 1, 2 and 8, 16, 32. At each place they
    stand feat_stride pixels further, and are moved and stretched by their four deltas as by DetectionOutput's
    CENTER_SIZE. Boxes are cut at the image, and dropped if smaller than min_size times the image's scale. Of the
    pre_nms_topn best by the second half of the scores, those stay that overlap no better one by more than nms_thresh,
    post_nms_topn at most. An image is height, width, scale, or height, width, scale of height, scale of width (Ren et
    al. 2015; py-faster-rcnn: proposal_layer.py).
    """

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.proposal_param
        for field in ("feat_stride", "base_size"):
            if not getattr(p, field):
                raise self.error(f"{field}: must be at least 1")
        ratios, scales = list(p.ratio) or [0.5, 1.0, 2.0], list(p.scale) or [8.0, 16.0, 32.0]
        if min(*ratios, *scales) <= 0:
            raise self.error(f"ratio and scale must be above 0, got {ratios} and {scales}")
        self.anchors = _anchors(p.base_size, ratios, scales)

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        items, channels, *extent = self.expect_axes(bottom_shapes, 0, 4)
        anchors, images = len(self.anchors), bottom_shapes[2]
        if channels != 2 * anchors or bottom_shapes[1] != (items, 4 * anchors, *extent):
            raise self.error(
                f"{anchors} anchors need scores (n, {2 * anchors}, h, w) and deltas (n, {4 * anchors}, h, w), got "
                f"{bottom_shapes[0]} and {bottom_shapes[1]}"
            )
        if math.prod(images) < 3 * items or (items and math.prod(images) % items):
            raise self.error(
                f"bottom {self.param.bottom[2]!r} has shape {images}; give height, width and scale of {items} images"
            )
        regions = items * self.param.proposal_param.post_nms_topn
        return [(regions, 5), (regions,)][: len(self.param.top)]

    def find(self, bottom: Sequence[Arrays]) -> list[Floats]:
        scores, deltas = bottom[0].data, bottom[1].data
        images = bottom[2].data.reshape(len(scores), -1)
        found = [self._of_item(*of_item) for of_item in zip(scores, deltas, images, strict=True)]
        rows = [np.empty((0, 5), np.float32), *(np.insert(boxes, 0, i, axis=1) for i, (boxes, _) in enumerate(found))]
        of_rows = [np.empty(0, np.float32), *(item_scores for _, item_scores in found)]
        return [np.concatenate(rows), np.concatenate(of_rows)][: len(self.param.top)]

    def _of_item(self, scores: Floats, deltas: Floats, image: Floats) -> tuple[Floats, Floats]:
        """The boxes that stay, and their scores."""
        p = self.param.proposal_param
        boxes = self._boxes(deltas, image)
        likely = scores[len(self.anchors) :].transpose(1, 2, 0).reshape(-1)
        least = p.min_size * image[[min(3, len(image) - 1), 2]]
        large = np.flatnonzero((boxes[:, 2:] - boxes[:, :2] + 1 >= least).all(axis=1))
        order = large[best_first(likely[large])[: p.pre_nms_topn or None]]
        kept = order[suppress(boxes[order], p.nms_thresh, most=p.post_nms_topn or None, border=1)]
        return boxes[kept], likely[kept]

    def _boxes(self, deltas: Floats, image: Floats) -> Floats:
        """(h * w * a, 4): every anchor's box inside the image."""
        height, width = deltas.shape[1:]
        down, right = np.indices((height, width), np.float32)[:, :, :, None] * self.param.proposal_param.feat_stride
        anchors = self.anchors + np.stack([right, down, right, down], axis=-1)
        moved = deltas.reshape(-1, 4, height, width).transpose(2, 3, 0, 1)
        boxes = decode(moved, anchors + _LAST_PIXEL, np.float32(1), PriorBoxParameter.CENTER_SIZE).reshape(-1, 4)
        inside: Floats = np.clip(boxes, 0, np.tile(image[1::-1] - 1, 2))
        return inside


def _anchors(base_size: int, ratios: Sequence[float], scales: Sequence[float]) -> Floats:
    """(ratios * scales, 4): boxes around the middle of the first base_size pixels, whole numbers large times scale."""
    centre = (base_size - 1) / 2
    anchors = []
    for ratio in ratios:
        width = math.floor(math.sqrt(base_size**2 / ratio) + 0.5)
        height = math.floor(width * ratio + 0.5)
        for scale in scales:
            x, y = (width * scale - 1) / 2, (height * scale - 1) / 2
            anchors.append((centre - x, centre - y, centre + x, centre + y))
    return np.array(anchors, np.float32)
