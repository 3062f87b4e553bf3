"""DetectionEvaluate: which detections find an object, from which average precision is computed."""

from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.data.files import read_lines
from caffepy.layer import Layer, register
from caffepy.layers.detection.boxes import best_first, overlaps
from caffepy.layers.detection.detection import known_objects
from caffepy.limits import STEP


@register("DetectionEvaluate", bottoms=2, tops=1)
class DetectionEvaluate(Layer):
    """detections (1, 1, d, 7), objects (1, 1, g, 8) -> (1, 1, classes + d, 5): what each detection is worth.

    First a row for each class but background_label_id: -1, label, number of objects, -1, -1. Then one for each
    detection: item, label, confidence, 1 if it is true, 1 if it is false. It is true if the object of its item and
    label that it overlaps most, by overlap_threshold at least, was found by no detection of higher confidence. Without
    evaluate_difficult_gt difficult objects are not counted, and a detection of one is neither. Rows come by item and
    label, where that has objects by falling confidence; those of detections of item -1 are zeros, at the end. Boxes
    are compared as they are, or in the pixels of the sizes in name_size_file, lines of name, height, width, one for
    each item with detections in turn (Liu et al. 2016; SSD: detection_evaluate_layer.cpp). It has no derivative.
    """

    host = True
    reads = ()

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.p = self.param.detection_evaluate_param
        if not p.num_classes:
            raise self.error("give num_classes, at least 1")
        if p.overlap_threshold <= 0:
            raise self.error(f"overlap_threshold: {p.overlap_threshold:g} must be above 0")
        self.sizes: Floats | None = None
        self.seen = 0

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        for index, numbers in enumerate((7, 8)):
            shape = bottom_shapes[index]
            if len(shape) != 4 or shape[:2] != (1, 1) or shape[3] != numbers:
                raise self.error(f"bottom {self.param.bottom[index]!r} must be (1, 1, rows, {numbers}), got {shape}")
        self.classes = self.p.num_classes - (0 <= self.p.background_label_id < self.p.num_classes)
        self.reserve_work(STEP * self.classes)
        return [(1, 1, self.classes + bottom_shapes[0][2], 5)]

    def differentiable(self, bottom_index: int) -> bool:
        return False

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        found = bottom[0].data[0, 0]
        found = found[found[:, 0] != -1]
        objects = known_objects(self, 1, bottom[1].data[0, 0], self.p.num_classes, self.p.background_label_id)
        counted = objects[self.p.evaluate_difficult_gt | (objects[:, 7] == 0)]
        labels = [label for label in range(self.p.num_classes) if label != self.p.background_label_id]
        number = [np.count_nonzero(counted[:, 1] == label) for label in labels]
        rows = [np.array([(-1, *of, -1, -1) for of in zip(labels, number, strict=True)]).reshape(-1, 5)]
        for item in np.unique(found[:, 0]):
            scale = self._next_size()
            of_item = found[found[:, 0] == item]
            for label in np.unique(of_item[:, 1]):
                there = objects[(objects[:, 0] == item) & (objects[:, 1] == label)]
                rows.append(self._rows(of_item[of_item[:, 1] == label], there, scale))
        together = np.concatenate(rows)
        top[0].data[0, 0, : len(together)] = together
        top[0].data[0, 0, len(together) :] = 0

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        """There is no derivative."""

    def _rows(self, found: Floats, objects: Floats, scale: Floats | None) -> Floats:
        """Those of an item's detections (d, 7) of a label that has these objects (g, 8)."""
        rows = np.zeros((len(found), 5), np.float32)
        if len(objects):
            found = found[best_first(found[:, 2])]
            one, other = (boxes[:, 3:7] if scale is None else boxes[:, 3:7] * scale for boxes in (found, objects))
            overlap = overlaps(one[:, None], other, 0 if scale is None else 1)
            nearest = overlap.argmax(axis=1)
            hit = overlap.max(axis=1) >= np.float32(self.p.overlap_threshold)
            neither = hit & (objects[nearest, 7] != 0) & (not self.p.evaluate_difficult_gt)
            hits = np.flatnonzero(hit & ~neither)
            first = hits[np.unique(nearest[hits], return_index=True)[1]]
            rows[~neither, 4] = 1
            rows[first, 3:] = 1, 0
        else:
            rows[:, 4] = 1
        rows[:, :3] = found[:, :3]
        return rows

    def _next_size(self) -> Floats | None:
        """width, height, width, height of the next item; None for boxes as they are."""
        if not self.p.name_size_file:
            return None
        if self.sizes is None:
            self.sizes = self._read_sizes()
        self.seen += 1
        size: Floats = self.sizes[(self.seen - 1) % len(self.sizes)]
        return size

    def _read_sizes(self) -> Floats:
        file = self.p.name_size_file
        with self.named():
            lines = read_lines(file)
        try:
            sizes = [[float(number) for number in line.split()[1:3]] for line in lines if line.strip()]
        except ValueError as error:
            raise self.error(f"name_size_file: cannot read {file!r}: {error}") from error
        if not sizes or any(len(size) != 2 for size in sizes):
            raise self.error(f"name_size_file: {file!r} must have lines of name, height, width")
        return np.array([[width, height] * 2 for height, width in sizes], np.float32)
