"""Pad, CropCenter and the blocks of SpaceToBatchND: values put around a blob, and cut off it."""

import math
from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Ints, Shape
from caffepy.kernels import kernel
from caffepy.layer import Layer, State, register
from caffepy.layers.utility.rearrange import AXES, Move, Mover, layout, rearrange_forward

Pairs = Sequence[tuple[int, int]]
"""For each axis how much there is before and after the inner box."""


class Margins:
    """An outer box and an inner one: what a layer calls to put the inner one's values into the outer one, and back."""

    def __init__(self, layer: Layer, name: str, inner: Shape, pairs: Pairs) -> None:
        outer = [before + extent + after for extent, (before, after) in zip(inner, pairs, strict=True)]
        strides = [math.prod(outer[axis + 1 :]) for axis in range(len(outer))]
        start = sum(before * stride for (before, _), stride in zip(pairs, strides, strict=True))
        cut, put = layout(inner, strides, start=start), _box(outer, inner, [before for before, _ in pairs])
        if max(len(cut), 1 + len(put)) > 1 + 3 * AXES or len(cut) > 1 + 2 * AXES:
            raise layer.error(f"margins in more than {AXES} axes of shape {inner}; give them in two layers")
        self.outer: Shape = tuple(outer)
        self._cut: State = layer.state(f"{name}_cut", (len(cut),), np.int32)
        self._put: State = layer.state(f"{name}_put", (len(put),), np.int32)
        self._cut.set(cut)
        self._put.set(put)

    def cut(self, outer: Floats, inner: Floats) -> None:
        """inner = its part of outer"""
        rearrange_forward(outer, self._cut.array, inner)

    def put(self, inner: Floats, value: float, outer: Floats) -> None:
        """outer = value, but for its inner part"""
        embed_forward(inner, self._put.array, value, outer)


def _box(outer: Sequence[int], inner: Sequence[int], begin: Sequence[int]) -> list[int]:
    """(outer extents, inner extents, begins), axes without margin taken together with those before them."""
    merged: list[tuple[int, int, int]] = []
    for whole, part, first in zip(outer, inner, begin, strict=True):
        if merged and whole == part:
            merged[-1] = merged[-1][0] * whole, merged[-1][1] * whole, merged[-1][2] * whole
        else:
            merged.append((whole, part, first))
    merged = [(1, 1, 0)] * (AXES - len(merged)) + merged
    return [numbers[kind] for kind in range(3) for numbers in merged]


class _Margin(Layer):
    reads = ()

    def pairs(self, given: Sequence[int], field: str, axes: int) -> Pairs:
        """Two numbers for each axis."""
        if len(given) != 2 * axes:
            raise self.error(f"give {2 * axes} {field}, two for each of {axes} axes, got {len(given)}")
        return list(zip(given[::2], given[1::2], strict=True))

    def without(self, shape: Shape, pairs: Pairs, field: str) -> Shape:
        """The shape that is left when these margins are cut off."""
        inner = tuple(extent - before - after for extent, (before, after) in zip(shape, pairs, strict=True))
        if min(inner, default=1) < 1:
            raise self.error(f"{field} {[*pairs]} leave nothing of shape {shape}; cut off less")
        return inner


@register("Pad", bottoms=1, tops=1)
class Pad(_Margin):
    """Any shape -> each extent and its two `paddings`; top = constant_values around the bottom (TensorFlow: tf.pad)."""

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        bottom = bottom_shapes[0]
        self.margins = Margins(self, "pad", bottom, self.pairs(self.param.pad_param.paddings, "paddings", len(bottom)))
        return [self.margins.outer]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        self.margins.put(bottom[0].data, self.param.pad_param.constant_values, top[0].data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if propagate_down[0]:
            self.margins.cut(top[0].diff, bottom[0].diff)


@register("CropCenter", bottoms=1, tops=1)
class CropCenter(_Margin):
    """Any shape -> the same without `crop_size` values at either end of each axis (waifu2x-caffe)."""

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        bottom, sizes = bottom_shapes[0], list(self.param.crop_center_param.crop_size)
        if len(sizes) != len(bottom):
            raise self.error(f"give one crop_size for each axis of bottom shape {bottom}, got {sizes}")
        pairs = [(size, size) for size in sizes]
        top = self.without(bottom, pairs, "crop_size")
        self.margins = Margins(self, "crop", top, pairs)
        return [top]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        self.margins.cut(bottom[0].data, top[0].data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if propagate_down[0]:
            self.margins.put(top[0].diff, 0.0, bottom[0].diff)


class _Blocks(_Margin):
    """An image and the batch of its blocks: each place in a block has an item of its own."""

    def blocks(self, image: Shape, sizes: Sequence[int]) -> tuple[Move, Shape]:
        """How a whole image's values move into blocks, and the blocks' shape."""
        n, axes = image[0], len(sizes)
        parts = [extent // size for extent, size in zip(image[1:], sizes, strict=True)]
        extents = [n, *(number for pair in zip(parts, sizes, strict=True) for number in pair)]
        order = [*range(2, 2 * axes + 1, 2), 0, *range(1, 2 * axes + 1, 2)]
        return Move(extents, order), (n * math.prod(sizes), *parts)

    def settle(self, move: Move, image: Shape) -> None:
        """Keep the move, and a place for the whole image."""
        self.mover = Mover(self, move)
        self.image: State = self.state("image", image)

    def block_shape(self, given: Sequence[int], axes: int) -> list[int]:
        """One number for each axis after the first."""
        if len(given) != axes - 1 or min(given, default=1) < 1:
            raise self.error(
                f"give {axes - 1} block_shape, one for each axis after the first, at least 1, got {[*given]}"
            )
        return list(given)


@register("SpaceToBatchND", bottoms=1, tops=1)
class SpaceToBatchND(_Blocks):
    """(n, extents...) -> (n * product of `block_shape`, (extent + paddings) / block_shape...) (TensorFlow).

    Padded with zeros by `paddings`, two for each axis but the first; place (b...) of every block is a top item.
    """

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        bottom, p = bottom_shapes[0], self.param.space_to_batch_nd_param
        sizes = self.block_shape(p.block_shape, len(bottom))
        pairs = [(0, 0), *self.pairs(p.paddings, "paddings", len(bottom) - 1)]
        self.margins = Margins(self, "pad", bottom, pairs)
        image = self.margins.outer
        if any(extent % size for extent, size in zip(image[1:], sizes, strict=True)):
            raise self.error(f"block_shape {sizes} must divide the padded shape {image} after its first axis")
        move, top = self.blocks(image, sizes)
        self.settle(move, image)
        return [top]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        self.margins.put(bottom[0].data, 0.0, self.image.array)
        self.mover.there(self.image.array, top[0].data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if propagate_down[0]:
            self.mover.back(top[0].diff, self.image.array)
            self.margins.cut(self.image.array, bottom[0].diff)


@register("BatchToSpaceND", bottoms=1, tops=1)
class BatchToSpaceND(_Blocks):
    """(n * product of `block_shape`, extents...) -> (n, extent * block_shape - crops...): SpaceToBatchND undone.

    `crops`, two for each axis but the first, are cut off (TensorFlow).
    """

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        bottom, p = bottom_shapes[0], self.param.batch_to_space_nd_param
        sizes = self.block_shape(p.block_shape, len(bottom))
        if bottom[0] % math.prod(sizes):
            raise self.error(f"block_shape {sizes} has {math.prod(sizes)} places, which must divide axis 0 of {bottom}")
        image = bottom[0] // math.prod(sizes), *(e * size for e, size in zip(bottom[1:], sizes, strict=True))
        pairs = [(0, 0), *self.pairs(p.crops, "crops", len(bottom) - 1)]
        top = self.without(image, pairs, "crops")
        self.margins = Margins(self, "crop", top, pairs)
        self.settle(self.blocks(image, sizes)[0], image)
        return [top]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        self.mover.back(bottom[0].data, self.image.array)
        self.margins.cut(self.image.array, top[0].data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if propagate_down[0]:
            self.margins.put(top[0].diff, 0.0, self.image.array)
            self.mover.there(self.image.array, bottom[0].diff)


@kernel("margins.cu", per="top_data")
def embed_forward(bottom_data: Floats, box: Ints, value: float, top_data: Floats) -> None:
    """top of extents box[k] = bottom of extents box[6 + k] where it stands from box[12 + k] on, value elsewhere"""
    outer, inner, begin = (box[kind * AXES : (kind + 1) * AXES] for kind in range(3))
    top_data[...] = value
    where = tuple(slice(first, first + extent) for first, extent in zip(begin, inner, strict=True))
    top_data.reshape(tuple(outer))[where] = bottom_data.reshape(tuple(inner))
