"""Yolov3: how far YOLO's maps are from the objects that are there."""

import math
from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.layer import register
from caffepy.layers.detection.boxes import overlaps
from caffepy.layers.detection.yolo import boxes_of, places_of, sigmoid
from caffepy.layers.loss.loss import Loss

NUMBERS = 5
"""Of an object: class, middle x and y, width, height."""
FOCAL_ALPHA = 0.5
LEAST_PROBABILITY = np.float32(1e-15)
"""Added to what the focal loss takes the logarithm of."""


@register("Yolov3", bottoms=2, tops=1)
class Yolov3(Loss):
    """map (n, num * (5 + c), h, w), objects (n, ..., g * 5) -> loss ().

    An object is class, middle x and y, width, height, as parts of the image; width 0 ends an item's. A box of the map
    is as Yolov3DetectionOutput has it, of anchor mask[b]; with s the sigmoid, the loss is the sum of d^2 / n, where d
    is s(objectness), or 0 if the box overlaps any object by more than thresh. An object belongs to the place that its
    middle is in, and to the anchor whose size overlaps its own most, if that is one of the map's: there d is
    s(objectness) - 1; coord_scale * (2 - width * height) times what s(x), s(y), width and height miss; class_scale *
    (s(class) - 1) for its class and class_scale * s(class) for the others. Of two objects in one place and anchor the
    later counts, but for the class of the first, which is wanted too. The map's diff is d / n, with use_logic_gradient
    times s's derivative (and s(objectness) - 1 is multiplied by object_scale); neither is the derivative of this loss,
    but the first is that of the cross entropy. With use_focal_loss the classes' d is multiplied by g / 2,
    g = (1 - p) * (1 - p - 2 p log(p)), p = s of the object's class (Redmon and Farhadi 2018; MobileNet-YOLO:
    yolov3_layer.cpp, where side and noobject_scale have no effect either).
    """

    host = True
    reads = ()

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.p = self.param.yolov3_param
        if not p.num_class or not p.num or not p.anchors_scale:
            raise self.error(
                f"num_class: {p.num_class}, num: {p.num} and anchors_scale: {p.anchors_scale} must be at least 1"
            )
        if len(p.mask) != p.num:
            raise self.error(f"mask: {[*p.mask]} must name num: {p.num} anchors")
        if len(p.biases) % 2 or len(p.biases) < 2 * (max(p.mask) + 1):
            raise self.error(
                f"biases: {len(p.biases)} numbers; give the width and the height of {max(p.mask) + 1} anchors, "
                f"{2 * (max(p.mask) + 1)} or more"
            )
        self.sizes = np.array(p.biases, np.float32).reshape(-1, 2)

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        p, shape, objects = self.p, self.expect_axes(bottom_shapes, 0, 4), bottom_shapes[1]
        if shape[1] != p.num * (5 + p.num_class):
            raise self.error(
                f"bottom {self.param.bottom[0]!r} has shape {shape}; {p.num} boxes of 5 numbers and {p.num_class} "
                f"classes need ({shape[0]}, {p.num * (5 + p.num_class)}, h, w)"
            )
        if objects[:1] != shape[:1] or math.prod(objects[1:]) % NUMBERS:
            raise self.error(
                f"bottom {self.param.bottom[1]!r} has shape {objects}; give {NUMBERS} numbers for each object, as many "
                f"objects for each of {shape[0]} items"
            )
        return super().reshape(bottom_shapes)

    def differentiable(self, bottom_index: int) -> bool:
        return bottom_index == 0

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        maps, objects = bottom[0].data, bottom[1].data
        self.misses = np.zeros_like(maps)
        for item, values in enumerate(maps):
            truth = self._truth(item, objects[item].reshape(-1, NUMBERS))
            self._miss(places_of(values, self.p.num), truth, places_of(self.misses[item], self.p.num))
        top[0].data[...] = np.square(self.misses).sum(dtype=np.float64) / len(maps)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if not propagate_down[0]:
            return
        diff = bottom[0].diff
        np.multiply(self.misses, top[0].diff.reshape(1) / np.float32(len(diff)), out=diff)
        if self.p.use_logic_gradient:
            for values, item in zip(bottom[0].data, diff, strict=True):
                shares = sigmoid(places_of(values, self.p.num))
                shares *= 1 - shares
                shares[..., 2:4] = 1
                places_of(item, self.p.num)[...] *= shares

    def _truth(self, item: int, rows: Floats) -> Floats:
        """The item's objects (g, 5)."""
        ends = np.flatnonzero(rows[:, 3] == 0)
        rows = rows[: ends[0]] if ends.size else rows
        known = (rows[:, 0] > -1) & (rows[:, 0] < self.p.num_class)
        known &= ((rows[:, 1:3] >= 0) & (rows[:, 1:3] < 1)).all(axis=1) & (rows[:, 3:] > 0).all(axis=1)
        if not known.all():
            wrong = int(known.argmin())
            raise self.error(
                f"object {wrong} of item {item} of bottom {self.param.bottom[1]!r} is {rows[wrong].tolist()}; give a "
                f"class 0 to {self.p.num_class - 1}, a middle at 0 or above and below 1, a width and height above 0"
            )
        return rows

    def _miss(self, values: Floats, truth: Floats, misses: Floats) -> None:
        """Write d (h, w, num, 5 + c) of an item's values (h, w, num, 5 + c) and objects (g, 5)."""
        p, boxes = self.p, boxes_of(values, self.sizes[np.array(self.p.mask)], self.p.anchors_scale)
        shares, (height, width) = sigmoid(values), values.shape[:2]
        image = np.array([width, height], np.float32) * p.anchors_scale
        corners = np.concatenate([truth[:, 1:3] - truth[:, 3:] / 2, truth[:, 1:3] + truth[:, 3:] / 2], axis=1)
        most = np.zeros(values.shape[:3], np.float32)
        for box in corners:
            np.maximum(most, overlaps(boxes, box), out=most)
        misses[..., 4] = np.where(most > np.float32(p.thresh), np.float32(0), shares[..., 4])
        taken = set()
        for row, anchor in zip(truth, self._anchors(truth[:, 3:] * image), strict=True):
            if anchor not in p.mask:
                continue
            label, middle, size = int(row[0]), row[1:3] * (width, height), row[3:]
            i, j = (int(at) for at in middle)
            at = j, i, [*p.mask].index(anchor)
            place, share = misses[at], shares[at]
            scale = np.float32(p.coord_scale) * (2 - size.prod())
            place[:2] = scale * (share[:2] - (middle - (i, j)))
            place[2:4] = scale * (values[at][2:4] - np.log(size * image / self.sizes[anchor]))
            place[4] = (share[4] - 1) * (p.object_scale if p.use_logic_gradient else 1)
            if at in taken:
                place[5 + label] = share[5 + label] - 1
            else:
                place[5:] = self._class_misses(share[5:], label)
            taken.add(at)

    def _anchors(self, sizes: Floats) -> list[int]:
        """For each of the objects' sizes (g, 2) in pixels, the anchor that overlaps it most."""
        at_origin = [np.concatenate([np.zeros_like(of), of], axis=1) for of in (sizes, self.sizes)]
        best: list[int] = overlaps(at_origin[0][:, None], at_origin[1]).argmax(axis=1).tolist()
        return best

    def _class_misses(self, shares: Floats, label: int) -> Floats:
        """d (c) of an object's classes."""
        misses = shares.copy()
        misses[label] -= 1
        misses *= np.float32(self.p.class_scale)
        if self.p.use_focal_loss:
            p = shares[label] + LEAST_PROBABILITY
            misses *= FOCAL_ALPHA * (1 - p) * (1 - p - 2 * p * np.log(p))
        return misses
