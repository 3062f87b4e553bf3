"""BoxOutput and DecodeBBox: the boxes of MS-CNN and Cascade R-CNN."""

import math
from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.layer import register
from caffepy.layers.detection.boxes import best_first, suppress
from caffepy.layers.detection.detection import Found
from caffepy.proto.caffe_pb2 import TRAIN


class _Normalized(Found):
    """Coordinates that were normalised by bbox_mean and bbox_std, four of each or none."""

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.bbox_reg_param
        given = bool(p.bbox_mean and p.bbox_std)
        if given and (len(p.bbox_mean) != 4 or len(p.bbox_std) != 4):
            raise self.error(f"give 4 bbox_mean and 4 bbox_std, got {len(p.bbox_mean)} and {len(p.bbox_std)}")
        self.mean = np.array(p.bbox_mean if given else [0] * 4, np.float32)
        self.deviation = np.array(p.bbox_std if given else [1] * 4, np.float32)


@register("BoxOutput", bottoms=(1, None), tops=(1, 2))
class BoxOutput(_Normalized):
    """maps (n, classes + 4, h, w), of several scales -> regions (r, 5, 1, 1), optionally with scores (r, 6, 1, 1).

    A map has, at each place, a score for each class, the background's first, and x, y, w, h. With field_w f and
    downsample_rate d of the map, x and y, at most 1 / field_xyr either way, give the centre x f + (place + 0.5) d;
    w and h, at most log(field_whr) either way, the size f exp(w), cut at the image. Of boxes whose best foreground
    score is above the background's by fg_thr and whose sides are min_size at least, the max_nms_num best are looked
    at, and those stay that overlap no better one by more than iou_thr, max_post_nms_num at most. A region is item,
    x1, y1, x2, y2; where none is found it is 0, 1, 1, 10, 10 with score 0 (Cai et al. 2016, MS-CNN:
    box_output_layer.cpp).
    """

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        super().setup(bottom_shapes)
        p = self.param.box_output_param
        given = len(p.field_w), len(p.field_h), len(p.downsample_rate)
        if set(given) != {len(bottom_shapes)}:
            raise self.error(f"give {len(bottom_shapes)} field_w, field_h and downsample_rate, got {given}")
        if p.nms_type not in ("IOU", "IOMU"):
            raise self.error(f"nms_type: {p.nms_type!r} must be 'IOU' or 'IOMU'")
        if p.field_whr < 1 or p.field_xyr <= 0:
            raise self.error(f"field_whr: {p.field_whr:g} must be at least 1, field_xyr: {p.field_xyr:g} above 0")

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        for index in range(len(bottom_shapes)):
            items, channels, *_ = self.expect_axes(bottom_shapes, index, 4)
            if channels < 6 or (items, channels) != bottom_shapes[0][:2]:
                raise self.error(
                    f"bottom {self.param.bottom[index]!r} has shape {bottom_shapes[index]}; give maps (n, classes + 4, "
                    "h, w) of two classes at least, as many items and channels each"
                )
        return [(1, 5, 1, 1), (1, 6, 1, 1)][: len(self.param.top)]

    def find(self, bottom: Sequence[Arrays]) -> list[Floats]:
        rows = [self._of_item(i, [arrays.data[i] for arrays in bottom]) for i in range(len(bottom[0].data))]
        found = np.concatenate([np.empty((0, 6), np.float32), *rows])[:, :, None, None]
        regions = found[:, :5]
        if not len(found):
            regions = np.array([0, 1, 1, 10, 10], np.float32).reshape(1, 5, 1, 1)
            found = np.zeros((1, 6, 1, 1), np.float32)
        return [regions, found][: len(self.param.top)]

    def _of_item(self, item: int, maps: Sequence[Floats]) -> Floats:
        """(r, 6): item, x1, y1, x2, y2, score."""
        p = self.param.box_output_param
        boxes, scores = (
            np.concatenate(parts) for parts in zip(*map(self._of_map, maps, range(len(maps))), strict=True)
        )
        chosen = np.flatnonzero((scores >= p.fg_thr) & (boxes[:, 2:] - boxes[:, :2] >= p.min_size).all(axis=1))[::-1]
        order = chosen[best_first(scores[chosen])][: p.max_nms_num or None]  # of equal ones the last, as MS-CNN sorts
        kept = suppress(boxes[order], p.iou_thr, of_smaller=p.nms_type == "IOMU")[: p.max_post_nms_num or None]
        order = order[kept]
        of_item = np.full((len(order), 1), item, np.float32)
        return np.concatenate([of_item, boxes[order], scores[order, None]], axis=1)

    def _of_map(self, values: Floats, index: int) -> tuple[Floats, Floats]:
        """(h * w, 4) and (h * w): the box of each place inside the image, and its score."""
        p = self.param.box_output_param
        rate = np.float32(p.downsample_rate[index])
        field = np.array([p.field_w[index], p.field_h[index]], np.float32)[:, None]
        height, width = values.shape[1:]
        image = np.array([[width], [height]], np.float32) * rate
        rows, columns = np.indices((height, width), np.float32).reshape(2, -1)
        scores = (values[1:-4].max(axis=0) - values[0]).reshape(-1)
        coordinates = values[-4:].reshape(4, -1) * self.deviation[:, None] + self.mean[:, None]
        most_move, most_growth = np.float32(1 / p.field_xyr), np.float32(math.log(p.field_whr))
        places = (np.stack([columns, rows]) + np.float32(0.5)) * rate
        centres = np.clip(coordinates[:2], -most_move, most_move) * field + places
        sizes = np.exp(np.clip(coordinates[2:], -most_growth, most_growth)) * field
        begin = np.maximum(centres - sizes / 2, 0)
        return np.concatenate([begin, begin + np.minimum(sizes, image - begin)]).T, scores


@register("DecodeBBox", bottoms=(2, 3), tops=1)
class DecodeBBox(_Normalized):
    """codes (r, 8), regions (r, 5), optionally, TRAIN, matched objects (r, m) -> regions (k, 5, 1, 1).

    The last four codes x, y, w, h of a region whose sides are s and whose middle is c mean the box of middle c + x
    s and sides s exp(w). TRAIN leaves out boxes that are turned inside out, and regions whose object's last number,
    their overlap, is gt_iou_thr at least (Cai & Vasconcelos 2018, Cascade R-CNN: decode_bbox_layer.cpp).
    """

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        codes, regions, *objects = bottom_shapes
        rows = regions[0] if regions else 0
        if math.prod(codes) != 8 * rows or math.prod(regions) != 5 * rows or any(o[:1] != (rows,) for o in objects):
            raise self.error(
                f"bottom shapes {list(bottom_shapes)}: give 8 codes and 5 numbers for each of {rows} regions"
            )
        if objects and self.phase != TRAIN:
            raise self.error("a third bottom is for training only; remove it")
        return [(rows, 5, 1, 1)]

    def find(self, bottom: Sequence[Arrays]) -> list[Floats]:
        regions = bottom[1].data.reshape(-1, 5)
        codes = bottom[0].data.reshape(-1, 2, 4)[:, 1] * self.deviation + self.mean
        first, last = regions[:, 1:3], regions[:, 3:]
        sizes, middles = last - first + 1, (last + first) / 2
        sides = sizes * np.exp(codes[:, 2:])
        begin = codes[:, :2] * sizes + middles - (sides - 1) / 2
        boxes = np.concatenate([regions[:, :1], begin, begin + sides - 1], axis=1).astype(np.float32)
        kept = np.ones(len(boxes), np.bool_)
        if self.phase == TRAIN:
            kept &= (boxes[:, 1:3] <= boxes[:, 3:]).all(axis=1)
            for objects in bottom[2:]:
                most = self.param.decode_bbox_param.gt_iou_thr
                kept &= objects.data.reshape(len(boxes), -1)[:, -1] < np.float32(most)
        if not kept.any():
            raise self.error(
                f"none of {len(boxes)} regions is left; they are malformed, or are their objects themselves"
            )
        return [boxes[kept][:, :, None, None]]
