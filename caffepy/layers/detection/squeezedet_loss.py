"""SqueezeDetLoss: how far SqueezeDet's predictions are from the objects that are there."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.layer import register
from caffepy.layers.detection.boxes import Indices, overlaps
from caffepy.layers.loss.loss import Loss

IMAGE = 416
"""The height and width of the images, unless crop_size says otherwise."""
NUMBERS = 5
"""Of an object: xmin, ymin, xmax, ymax, class."""


class _Found(NamedTuple):
    """An item's objects: their classes, the anchor that predicts each best and how well, what it should say (g, 4)."""

    labels: Indices
    anchors: Indices
    overlaps: Floats
    targets: Floats


@register("SqueezeDetLoss", bottoms=4, tops=1)
class SqueezeDetLoss(Loss):
    """classes (n, a, c), confidences (n, h, w, k), offsets (n, h, w, 4 k), objects (n, ..., 5 g) -> loss ().

    An object is xmin, ymin, xmax, ymax, class, in pixels; xmin -1 ends an item's. There are k anchors at each of the
    h * w places, a in all: width and height from anchor_shapes, of place p the middle ((p // h + 1) * W / (w + 1),
    (p % h + 1) * H / (h + 1)), the image H = W = transform_param's crop_size or 416 pixels. Offsets x, y, height, width
    mean a box of middle anchor + offset * size and size anchor * exp(offset), clipped to the image. Each object belongs
    to the anchor whose box overlaps it most, by o. With g objects an item's loss is

    - lambda_conf / g * sum of -log(classes[anchor, class] + epsilon)
    - pos_conf / g * sum of (confidence - o)^2, and neg_conf / (a - g) * sum, for each object, of the squared
      confidences of all other anchors
    - lambda_bbox / g * sum of squared distances of the offsets to those that mean the object, width and height counted
      with their last pixel

    and that of the batch their mean; items without objects have none. The diffs are the derivatives, o being a
    constant, but for the classes': there lambda_conf / g is left out (Wu et al. 2017; OpenCV's dnn_objdetect, from
    squeezedet_loss_layer.cpp, where that of no objects is NaN, and loss_param has no effect either).
    """

    host = True
    reads = ()

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.p = self.param.squeezedet_param
        if not p.classes or not p.anchors_per_grid:
            raise self.error(f"classes: {p.classes} and anchors_per_grid: {p.anchors_per_grid} must be at least 1")
        if len(p.anchor_shapes) != 2 * p.anchors_per_grid or min(p.anchor_shapes) < 1:
            raise self.error(
                f"anchor_shapes: {[*p.anchor_shapes]}; give the width and the height of {p.anchors_per_grid} anchors, "
                "1 at least"
            )
        self.image = self.param.transform_param.crop_size or IMAGE

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        each, objects = self.p.anchors_per_grid, bottom_shapes[3]
        num, height, width, _ = self.expect_axes(bottom_shapes, 1, 4)
        wanted = (
            (num, height * width * each, self.p.classes),
            (num, height, width, each),
            (num, height, width, 4 * each),
        )
        for index, shape in enumerate(wanted):
            if math.prod(bottom_shapes[index]) != math.prod(shape) or bottom_shapes[index][:1] != (num,):
                raise self.error(
                    f"bottom {self.param.bottom[index]!r} has shape {bottom_shapes[index]}; {each} anchors at each of "
                    f"{height} x {width} places, and {self.p.classes} classes, need {shape}"
                )
        if objects[:1] != (num,) or math.prod(objects[1:]) % NUMBERS:
            raise self.error(
                f"bottom {self.param.bottom[3]!r} has shape {objects}; give {NUMBERS} numbers for each object, as many "
                f"objects for each of {num} items"
            )
        self.anchors = self._anchors(height, width)
        return super().reshape(bottom_shapes)

    def differentiable(self, bottom_index: int) -> bool:
        return bottom_index < 3

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        classes, confidences, offsets = self._items([arrays.data for arrays in bottom[:3]])
        rows = bottom[3].data.reshape(len(offsets), -1, NUMBERS)
        self.found = [self._match(item, offsets[item], rows[item]) for item in range(len(offsets))]
        losses = [
            self._loss(of, classes[item], confidences[item], offsets[item])
            for item, of in enumerate(self.found)
            if len(of.labels)
        ]
        top[0].data[...] = sum(losses) / len(offsets)

    def _loss(self, of: _Found, classes: Floats, confidences: Floats, offsets: Floats) -> float:
        p, count, hits = self.p, len(of.labels), confidences[of.anchors]
        probability = classes[of.anchors, of.labels] + np.float32(p.epsilon)
        others = count * np.square(confidences).sum(dtype=np.float64) - np.square(hits).sum(dtype=np.float64)
        return float(
            -p.lambda_conf / count * np.log(probability).sum()
            + p.pos_conf / count * np.square(hits - of.overlaps).sum()
            + p.neg_conf / (len(self.anchors) - count) * others
            + p.lambda_bbox / count * np.square(offsets[of.anchors] - of.targets).sum()
        )

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        values = self._items([arrays.data for arrays in bottom[:3]])
        derivatives = self._class_diff, self._confidence_diff, self._offset_diff
        factor = top[0].diff.reshape(1) / np.float32(len(self.found))
        for arrays, of_bottom, derivative, goes_down in zip(bottom, values, derivatives, propagate_down, strict=False):
            if goes_down:
                diff = np.zeros_like(of_bottom)
                for item, of in enumerate(self.found):
                    if len(of.labels):
                        derivative(of, of_bottom[item], diff[item])
                np.multiply(diff.reshape(arrays.shape), factor, out=arrays.diff)

    def _class_diff(self, of: _Found, classes: Floats, diff: Floats) -> None:
        probability = classes[of.anchors, of.labels] + np.float32(self.p.epsilon)
        np.add.at(diff, (of.anchors, of.labels), -1 / probability)

    def _confidence_diff(self, of: _Found, confidences: Floats, diff: Floats) -> None:
        count, hits = len(of.labels), confidences[of.anchors]
        positive, negative = 2 * self.p.pos_conf / count, 2 * self.p.neg_conf / (len(self.anchors) - count)
        diff[...] = negative * count * confidences
        np.add.at(diff, of.anchors, positive * (hits - of.overlaps) - negative * hits)

    def _offset_diff(self, of: _Found, offsets: Floats, diff: Floats) -> None:
        np.add.at(diff, of.anchors, 2 * self.p.lambda_bbox / len(of.labels) * (offsets[of.anchors] - of.targets))

    def _items(self, arrays: Sequence[Floats]) -> list[Floats]:
        """Of classes, confidences and offsets: (n, a, c), (n, a), (n, a, 4)."""
        tails = ((self.p.classes,), (), (4,))
        return [array.reshape(-1, len(self.anchors), *tail) for array, tail in zip(arrays, tails, strict=True)]

    def _anchors(self, height: int, width: int) -> Floats:
        """(a, 4): middle x and y, height, width."""
        place, each = np.arange(height * width), self.p.anchors_per_grid
        middles = [(place // height + 1) * self.image / (width + 1), (place % height + 1) * self.image / (height + 1)]
        shapes = np.array(self.p.anchor_shapes, np.float32).reshape(each, 2)[:, ::-1]
        repeated = np.repeat(np.stack(middles, axis=1), each, axis=0)
        return np.concatenate([repeated, np.tile(shapes, (len(place), 1))], axis=1, dtype=np.float32)

    def _match(self, item: int, offsets: Floats, rows: Floats) -> _Found:
        """The item's objects, given its offsets (a, 4) and rows (g, 5)."""
        ends = np.flatnonzero(rows[:, 0] == -1)
        rows = rows[: ends[0]] if ends.size else rows
        known = (rows[:, 4] > -1) & (rows[:, 4] < self.p.classes) & (rows[:, 2:4] >= rows[:, :2]).all(axis=1)
        if not known.all():
            wrong = int(known.argmin())
            raise self.error(
                f"object {wrong} of item {item} of bottom {self.param.bottom[3]!r} is {rows[wrong].tolist()}; give "
                f"xmin, ymin, xmax, ymax and a class 0 to {self.p.classes - 1}"
            )
        if len(rows) >= len(self.anchors):
            raise self.error(f"item {item} has {len(rows)} objects; give fewer than the {len(self.anchors)} anchors")
        overlap = overlaps(rows[:, None, :4], self._boxes(offsets))
        anchors = overlap.argmax(axis=1)
        most = np.take_along_axis(overlap, anchors[:, None], axis=1)[:, 0]
        return _Found(rows[:, 4].astype(np.intp), anchors, most, self._targets(rows, self.anchors[anchors]))

    def _boxes(self, offsets: Floats) -> Floats:
        """(a, 4): xmin, ymin, xmax, ymax of the boxes that the offsets (a, 4) mean."""
        with np.errstate(over="ignore"):
            middles = self.anchors[:, :2] + self.anchors[:, :1:-1] * offsets[:, :2]
            halves = (self.anchors[:, 2:] * np.exp(offsets[:, 2:]) / 2)[:, ::-1]
        corners: Floats = np.concatenate([middles - halves, middles + halves], axis=1)
        return corners.clip(0, self.image - 1)

    def _targets(self, rows: Floats, anchors: Floats) -> Floats:
        """(g, 4): the offsets of these anchors (g, 4) that mean the objects (g, 5)."""
        sizes = (rows[:, 2:4] - rows[:, :2] + 1)[:, ::-1]
        middles = rows[:, :2] + sizes[:, ::-1] / 2
        moves = (middles - anchors[:, :2]) / anchors[:, :1:-1]
        return np.concatenate([moves, np.log(sizes / anchors[:, 2:] + np.float32(self.p.epsilon))], axis=1)
