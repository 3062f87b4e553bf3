"""YoloDetectionOutput and Yolov3DetectionOutput: what YOLO's maps say of boxes, and the best of what overlaps."""

from collections.abc import Iterator, Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.layer import register
from caffepy.layers.detection.boxes import Indices, best_first, suppress
from caffepy.layers.detection.detection import Detections, detections


class _Yolo(Detections):
    """Maps (n, boxes * (5 + classes), h, w): x, y, width, height, objectness and the classes of each box at a place."""

    classes: int
    boxes: int
    confidence_threshold: float
    nms_threshold: float

    def anchors(self, index: int) -> tuple[Floats, float]:
        """Widths and heights (boxes, 2) of bottom `index`, and how many of their units are a cell."""
        raise NotImplementedError

    def choose(self, objectness: Floats, classes: Floats) -> tuple[Indices, Indices, Floats]:
        """Of the boxes' (p), (p, classes): which count, as which class, with what confidence."""
        raise NotImplementedError

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        channels = self.boxes * (5 + self.classes)
        for index, name in enumerate(self.param.bottom):
            shape = self.expect_axes(bottom_shapes, index, 4)
            if shape[1] != channels or shape[0] != bottom_shapes[0][0]:
                raise self.error(
                    f"bottom {name!r} has shape {shape}; {self.boxes} boxes of 5 numbers and {self.classes} classes "
                    f"need ({bottom_shapes[0][0]}, {channels}, h, w)"
                )
        return super().reshape(bottom_shapes)

    def check_biases(self, biases: Sequence[float], anchors: int) -> Floats:
        """(anchors, 2)"""
        if len(biases) < 2 * anchors or len(biases) % 2:
            raise self.error(
                f"biases: {len(biases)} numbers; give the width and the height of {anchors} anchors, {2 * anchors} or "
                "more"
            )
        return np.array(biases, np.float32).reshape(-1, 2)

    def detect(self, bottom: Sequence[Arrays]) -> list[Floats]:
        items = zip(*(self._predictions(arrays.data, index) for index, arrays in enumerate(bottom)), strict=True)
        return [self._of_item(np.concatenate(maps)) for maps in items]

    def _predictions(self, values: Floats, index: int) -> Iterator[Floats]:
        """For each item (h * w * boxes, 5 + classes), of which the first four are the box."""
        for item in values:
            found = places_of(item, self.boxes).copy()
            found[..., :4] = boxes_of(found, *self.anchors(index))
            yield found.reshape(-1, found.shape[-1])

    def _of_item(self, found: Floats) -> Floats:
        counting, labels, confidences = self.choose(sigmoid(found[:, 4]), found[:, 5:])
        order = best_first(confidences)
        boxes = found[counting[order], :4]
        below = np.nextafter(np.float32(self.nms_threshold), np.float32(-1))  # an overlap of the threshold is too much
        kept = suppress(boxes, below)
        return detections(labels[order[kept]] + 1, confidences[order[kept]], boxes[kept])


@register("YoloDetectionOutput", bottoms=(1, 2), tops=1)
class YoloDetectionOutput(_Yolo):
    """one map or two (n, num_box * (5 + c), h, w) -> (1, 1, rows, 7): item, label, confidence, xmin, ymin, xmax, ymax.

    With s the sigmoid, box b at column i, row j has its middle at (i + s(x)) / w, (j + s(y)) / h, its width is
    exp(width) * biases[2 b] / w, its height exp(height) * biases[2 b + 1] / h. Its class is the likeliest by softmax,
    label 1 the first, its confidence that probability * s(objectness), where it is confidence_threshold at least. From
    the best on, a box that overlaps a better one of any class by nms_threshold or more is dropped. If nothing was
    found, a row of item and -1 six times for each item (Redmon and Farhadi 2017; MobileNet-YOLO:
    yolo_detection_output_layer.cpp).
    """

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.yolo_detection_output_param
        if not p.num_classes or not p.num_box or p.coords != 4:
            raise self.error(
                f"num_classes: {p.num_classes} and num_box: {p.num_box} must be at least 1, coords: {p.coords} must "
                "be 4"
            )
        self.classes, self.boxes = p.num_classes, p.num_box
        self.confidence_threshold, self.nms_threshold = p.confidence_threshold, p.nms_threshold
        self.sizes = self.check_biases(p.biases, p.num_box)[: p.num_box]

    def anchors(self, index: int) -> tuple[Floats, float]:
        return self.sizes, 1

    def choose(self, objectness: Floats, classes: Floats) -> tuple[Indices, Indices, Floats]:
        exponentials = np.exp(classes - classes.max(axis=1, keepdims=True))
        confidences = objectness * exponentials.max(axis=1) / exponentials.sum(axis=1)
        counting = np.flatnonzero(confidences >= np.float32(self.confidence_threshold))
        return counting, classes[counting].argmax(axis=1), confidences[counting]


@register("Yolov3DetectionOutput", bottoms=(1, None), tops=1)
class Yolov3DetectionOutput(_Yolo):
    """maps (n, num_box * (5 + c), h, w) -> (1, 1, rows, 7): item, label, confidence, xmin, ymin, xmax, ymax.

    As YoloDetectionOutput, but the biases are in pixels: box b of a map has anchor a = mask[b], the masks of the second
    map follow those of the first, a width of exp(width) * biases[2 a] / (w * anchors_scale), anchors_scale being one
    number for each map, and so its height. Every class whose s(class) * s(objectness) is above confidence_threshold
    counts, with that confidence (Redmon and Farhadi 2018; MobileNet-YOLO: yolov3_detection_output_layer.cpp).
    """

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p, maps = self.param.yolov3_detection_output_param, len(bottom_shapes)
        if not p.num_classes or not p.num_box:
            raise self.error(f"num_classes: {p.num_classes} and num_box: {p.num_box} must be at least 1")
        self.classes, self.boxes = p.num_classes, p.num_box
        self.confidence_threshold, self.nms_threshold = p.confidence_threshold, p.nms_threshold
        if (p.mask_group_num, len(p.anchors_scale), len(p.mask)) != (maps, maps, maps * p.num_box):
            raise self.error(
                f"{maps} bottoms need mask_group_num: {maps}, {maps} anchors_scale and {maps * p.num_box} mask, "
                f"num_box each; got {p.mask_group_num}, {len(p.anchors_scale)} and {len(p.mask)}"
            )
        if min(p.anchors_scale) < 1:
            raise self.error(f"anchors_scale: must be at least 1, got {[*p.anchors_scale]}")
        self.sizes = self.check_biases(p.biases, max(p.mask) + 1)[np.array(p.mask)].reshape(maps, p.num_box, 2)

    def anchors(self, index: int) -> tuple[Floats, float]:
        return self.sizes[index], self.param.yolov3_detection_output_param.anchors_scale[index]

    def choose(self, objectness: Floats, classes: Floats) -> tuple[Indices, Indices, Floats]:
        confidences = objectness[:, None] * sigmoid(classes)
        counting, labels = np.nonzero(confidences > np.float32(self.confidence_threshold))
        return counting, labels, confidences[counting, labels]


def places_of(item: Floats, boxes: int) -> Floats:
    """(h, w, boxes, 5 + classes), the same memory, of an item's map (boxes * (5 + classes), h, w)."""
    return item.reshape(boxes, len(item) // boxes, *item.shape[1:]).transpose(2, 3, 0, 1)


def boxes_of(values: Floats, sizes: Floats, cell: float) -> Floats:
    """The boxes (h, w, boxes, 4) that such values mean, their anchors being of these sizes, `cell` to a place."""
    height, width = values.shape[:2]
    places = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)[:, :, None]
    with np.errstate(over="ignore"):
        middles = (places + sigmoid(values[..., :2])) / (width, height)
        halves = np.exp(values[..., 2:4]) * sizes / (2 * cell * width, 2 * cell * height)
    return np.concatenate([middles - halves, middles + halves], axis=-1, dtype=np.float32)


def sigmoid(x: Floats) -> Floats:
    """Of as many values, without overflow."""
    y: Floats = (np.tanh(x / np.float32(2)) + 1) / np.float32(2)
    return y
