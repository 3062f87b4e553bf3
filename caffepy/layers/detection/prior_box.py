"""PriorBox: the boxes that an SSD's predictions are relative to."""

import math
from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.layer import Layer, State, register
from caffepy.layers.basis.elementwise import copy_forward
from caffepy.proto.caffe_pb2 import PriorBoxParameter

_SAME_RATIO = 1e-6
MOST = 2**31
"""Sizes are whole numbers there, too."""


@register("PriorBox", bottoms=2, tops=1)
class PriorBox(Layer):
    """map (n, c, h, w), image (n, c, H, W) -> (1, 2, h * w * priors * 4): boxes, and their variances (Liu et al. 2016).

    For each place of the map, around ((x + offset) * step_w, (y + offset) * step_h) in the image, for each min_size:
    a square of that size; one of size sqrt(min_size * max_size), if max_size is given; a box of min_size * sqrt(a) by
    min_size / sqrt(a) for each aspect_ratio a but 1, and for 1 / a with `flip`. Sizes are whole numbers. A box is xmin,
    ymin, xmax, ymax as fractions of the image, with `clip` inside it. The image's size is img_size, or img_h and img_w,
    or H x W; step, or step_h and step_w, is by default its size over the map's; the variance is 0.1, or one for all,
    or four. With several offset_h and offset_w each box stands around each of them (OpenCV, for TextBoxes). It has no
    derivatives.
    """

    reads = ()

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.prior_box_param
        self.sizes = self._sizes(p)
        self.variance = list(p.variance) or [0.1]
        if len(self.variance) not in (1, 4) or min(self.variance) <= 0:
            raise self.error(f"variance: give one or four numbers above 0, got {self.variance}")
        for what, one in (("img", p.img_size), ("step", p.step)):
            both = [getattr(p, f"{what}_{axis}") for axis in "hw"]
            if (one and any(both)) or any(both) != all(both) or min(one, *both) < 0:
                name = "img_size" if what == "img" else what
                raise self.error(f"give {name} or {what}_h and {what}_w, above 0, got {one:g} and {both}")
        self.centres = list(zip(p.offset_h, p.offset_w, strict=False)) or [(p.offset, p.offset)]
        if len(p.offset_h) != len(p.offset_w):
            raise self.error(f"give as many offset_h as offset_w, got {len(p.offset_h)} and {len(p.offset_w)}")

    def _sizes(self, p: PriorBoxParameter) -> list[tuple[float, float]]:
        """(width, height) of the boxes at one place, in pixels."""
        if not p.min_size or not all(0 < size < MOST for size in (*p.min_size, *p.max_size)):
            raise self.error(
                f"give min_size, and max_size if any, above 0 and below {MOST}, got {[*p.min_size]} and {[*p.max_size]}"
            )
        if p.max_size and len(p.max_size) != len(p.min_size):
            raise self.error(f"give one max_size for each min_size or none, got {[*p.max_size]} for {[*p.min_size]}")
        ratios = [1.0]
        for given in p.aspect_ratio:
            if not 0 < given < math.inf:
                raise self.error(f"aspect_ratio: {given:g} must be a number above 0")
            if all(abs(given - ratio) >= _SAME_RATIO for ratio in ratios):
                ratios += [given, 1 / given] if p.flip else [given]
        sizes = []
        for index, smallest in enumerate(int(size) for size in p.min_size):
            sizes.append((float(smallest), float(smallest)))
            if p.max_size:
                largest = int(p.max_size[index])
                if largest <= smallest:
                    raise self.error(f"max_size: {largest} must be above its min_size: {smallest}")
                sizes.append((math.sqrt(smallest * largest),) * 2)
            sizes += [(smallest * np.sqrt(ratio), smallest / np.sqrt(ratio)) for ratio in ratios[1:]]
        return sizes

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        height, width = self.expect_axes(bottom_shapes, 0, 4)[2:]
        p = self.param.prior_box_param
        image_h, image_w = p.img_h or p.img_size, p.img_w or p.img_size
        if not image_h:
            image_h, image_w = self.expect_axes(bottom_shapes, 1, 4)[2:]
        step_h = p.step_h or p.step or image_h / max(1, height)
        step_w = p.step_w or p.step or image_w / max(1, width)
        top = 1, 2, 4 * height * width * len(self.sizes) * len(self.centres)
        self.priors: State = self.state("priors", top)
        boxes = self._boxes((height, width), (image_h, image_w), (step_h, step_w))
        self.priors.set([[boxes, np.resize(self.variance, boxes.size)]])
        return [top]

    def _boxes(self, extents: tuple[int, int], image: tuple[int, int], steps: tuple[float, float]) -> Floats:
        """xmin, ymin, xmax, ymax of every box, place by place."""
        places = np.array([(offset, size) for size in self.sizes for offset in self.centres], np.float32)
        (offset_y, offset_x), (wide, high) = places[:, 0].T, places[:, 1].T
        rows, columns = (np.arange(extent, dtype=np.float32) for extent in extents)
        y = (rows[:, None, None] + offset_y) * np.float32(steps[0])
        x = (columns[:, None] + offset_x) * np.float32(steps[1])
        left, right = ((x + side * wide / 2) / image[1] for side in (-1, 1))
        above, below = ((y + side * high / 2) / image[0] for side in (-1, 1))
        shape = *extents, len(places)
        corners = [np.broadcast_to(corner, shape) for corner in (left, above, right, below)]
        boxes: Floats = np.stack(corners, axis=-1).reshape(-1)
        return boxes.clip(0, 1) if self.param.prior_box_param.clip else boxes

    def differentiable(self, bottom_index: int) -> bool:
        return False

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        copy_forward(self.priors.array, top[0].data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        """The top does not depend on the bottoms' values."""
