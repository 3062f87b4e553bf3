"""Proposal: the boxes that a region proposal network finds most likely to hold something."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from caffepy.blob import Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import register
from caffepy.layers.detection.boxes import decode, suppression_work
from caffepy.layers.detection.detection import Counted
from caffepy.layers.detection.nms import nms, write_regions
from caffepy.proto.caffe_pb2 import PriorBoxParameter

_LAST_PIXEL = np.array([0, 0, 1, 1], np.float32)
"""Boxes here contain their last row and column."""


@register("Proposal", bottoms=3, tops=(1, 2))
class Proposal(Counted):
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
        if not all(0 < number < math.inf for number in (*ratios, *scales)):
            raise self.error(f"ratio and scale must be numbers above 0, got {ratios} and {scales}")
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
        p = self.param.proposal_param
        self.height, self.width = extent
        self.image_numbers = math.prod(images) // max(1, items)
        number = anchors * math.prod(extent)
        self.looked = min(number, p.pre_nms_topn or number)
        most = min(self.looked, p.post_nms_topn or number)
        self.reserve_work(items * suppression_work(self.looked))
        self.reserve_lists(items, 1, 1, number, most)
        self.memory["anchors"] = self.state("anchors", self.anchors.shape)
        self.memory["anchors"].set(self.anchors)
        return self._tops(items * p.post_nms_topn)

    def room(self) -> tuple[int, Sequence[Shape]]:
        items, most = self.memory["kept"].shape
        return 0, self._tops(items * most)

    def _tops(self, regions: int) -> Sequence[Shape]:
        return [(regions, 5), (regions,)][: len(self.param.top)]

    def run(self, bottom: Sequence[Any], memory: dict[str, Any], found: Sequence[Any]) -> None:
        p, (number, room) = self.param.proposal_param, (self.memory["boxes"].shape[1], self.memory["kept"].shape[1])
        boxes, scores, kept, counts = (memory[name] for name in ("boxes", "scores", "kept", "counts"))
        given, deltas, images = bottom
        sizes = len(self.anchors), self.height, self.width, self.image_numbers
        region_candidates(given, deltas, images, memory["anchors"], *sizes, p.feat_stride, p.min_size, boxes, scores)
        of_each = number, self.looked, room
        nms(boxes, scores, 1, 1, *of_each, p.nms_thresh, 1.0, 1, memory["workspace"], kept, counts)
        of_regions = found[1] if len(found) > 1 else None
        write_regions(boxes, scores, kept, counts, number, room, memory["rows"], found[0], of_regions)


@kernel("candidates.cu", per="likely")
def region_candidates(
    scores: Floats,
    deltas: Floats,
    images: Floats,
    anchor_boxes: Floats,
    anchors: int,
    height: int,
    width: int,
    image_numbers: int,
    feat_stride: int,
    min_size: float,
    boxes: Floats,
    likely: Floats,
) -> None:
    """boxes (n, height * width * anchors, 4) = every anchor, moved by its deltas, inside the image.

    likely (n, height * width * anchors) = the second half of the scores, NaN where a box is smaller than min_size.
    """
    items = len(scores)
    down, right = np.indices((height, width), np.float32)[:, :, :, None] * np.float32(feat_stride)
    placed = anchor_boxes + np.stack([right, down, right, down], axis=-1) + _LAST_PIXEL
    moves = deltas.reshape(items, anchors, 4, height, width).transpose(0, 3, 4, 1, 2)
    moved = decode(moves, placed, np.float32(1), PriorBoxParameter.CENTER_SIZE).reshape(items, -1, 4)
    image = images.reshape(items, image_numbers)
    inside = np.clip(moved, 0, np.tile(image[:, None, 1::-1] - 1, 2))
    least = np.float32(min_size) * image[:, None, [min(3, image_numbers - 1), 2]]
    large = (inside[..., 2:] - inside[..., :2] + 1 >= least).all(axis=-1)
    given = scores.reshape(items, 2, anchors, -1)[:, 1].transpose(0, 2, 1).reshape(large.shape)
    boxes[...] = inside.reshape(boxes.shape)
    likely[...] = np.where(large, given, np.float32(np.nan)).reshape(likely.shape)


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
