"""Layers that only move values, from Permute to DepthToSpace, and what they share."""

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from caffepy.blob import Arrays, Floats, Ints, Shape
from caffepy.kernels import kernel
from caffepy.layer import Layer, register

AXES = 6
"""Axes of a layout, once those that are moved together are one."""


class Move(NamedTuple):
    """The source, its memory seen as `extents`, with its axes in another order and some of them mirrored."""

    extents: Sequence[int]
    order: Sequence[int]
    mirrored: Collection[int] = ()

    def layouts(self) -> tuple[list[int], list[int]]:
        """The layouts of the source in the target's order, and of the target in the source's order."""
        target = [self.extents[axis] for axis in self.order]
        strides, back = _strides(self.extents), _strides(target)
        mirrored = [self.order.index(axis) for axis in self.mirrored]
        there = layout(target, [strides[axis] for axis in self.order], mirrored)
        places = [self.order.index(axis) for axis in range(len(self.extents))]
        return there, layout(self.extents, [back[place] for place in places], self.mirrored)


def _strides(extents: Sequence[int]) -> list[int]:
    return [math.prod(extents[axis + 1 :]) for axis in range(len(extents))]


def layout(extents: Sequence[int], strides: Sequence[int], mirrored: Collection[int] = (), start: int = 0) -> list[int]:
    """(start, extents, strides), as few of either as will do: element i of an array is at start + sum i_k * strides_k.

    Along mirrored axes the elements come in reverse.
    """
    merged: list[tuple[int, int]] = []
    for axis, (extent, stride) in enumerate(zip(extents, strides, strict=True)):
        if axis in mirrored:
            start, stride = start + (extent - 1) * stride, -stride
        if extent == 1:
            continue
        if merged and merged[-1][1] == extent * stride:
            merged[-1] = merged[-1][0] * extent, stride
        else:
            merged.append((extent, stride))
    merged = [(1, 0)] * (AXES - len(merged)) + merged
    return [start, *(extent for extent, _ in merged), *(stride for _, stride in merged)]


class Mover:
    """What a layer calls to move values there and back."""

    def __init__(self, layer: Layer, move: Move) -> None:
        layouts = move.layouts()
        if max(map(len, layouts)) > 1 + 2 * AXES:
            raise layer.error(f"moves more than {AXES} axes, {[*move.extents]} to {[*move.order]}; do it in two layers")
        self._there = layer.state("there", (1 + 2 * AXES,), np.int32)
        self._back = layer.state("back", (1 + 2 * AXES,), np.int32)
        self._there.set(layouts[0])
        self._back.set(layouts[1])

    def there(self, source: Floats, target: Floats) -> None:
        """target = the source's values, moved"""
        rearrange_forward(source, self._there.array, target)

    def back(self, target: Floats, source: Floats) -> None:
        """source = the target's values, moved back"""
        rearrange_forward(target, self._back.array, source)


class Moves(Layer):
    """Every top value is a bottom value, and no two are the same one."""

    reads = ()

    def move(self, bottom: Shape) -> tuple[Move, Shape]:
        """From the bottom's shape: how values move, and the top's shape."""
        raise NotImplementedError

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        move, top = self.move(bottom_shapes[0])
        self.mover = Mover(self, move)
        return [top]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        self.mover.there(bottom[0].data, top[0].data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if propagate_down[0]:
            self.mover.back(top[0].diff, bottom[0].diff)


@register("Permute", bottoms=1, tops=1)
class Permute(Moves):
    """Any shape -> the bottom's axes in another order: first those of `order`, then the others (SSD)."""

    def move(self, bottom: Shape) -> tuple[Move, Shape]:
        given = list(self.param.permute_param.order)
        if len({*given}) < len(given) or max(given, default=0) >= len(bottom):
            raise self.error(
                f"order {given} must name axes of bottom shape {bottom}, 0 to {len(bottom) - 1}, once each"
            )
        order = given + [axis for axis in range(len(bottom)) if axis not in given]
        return Move(bottom, order), tuple(bottom[axis] for axis in order)


@register("Transpose", bottoms=1, tops=1)
class Transpose(Moves):
    """Any shape -> the bottom's axes in the order of `dim`, which names all of them (CTPN)."""

    def move(self, bottom: Shape) -> tuple[Move, Shape]:
        order = list(self.param.transpose_param.dim)
        if sorted(order) != list(range(len(bottom))):
            raise self.error(f"dim {order} must name every axis of bottom shape {bottom} once, 0 to {len(bottom) - 1}")
        return Move(bottom, order), tuple(bottom[axis] for axis in order)


@register("Reverse", bottoms=1, tops=1)
class Reverse(Moves):
    """Any shape -> the same, backwards along `axis` (CTPN)."""

    def move(self, bottom: Shape) -> tuple[Move, Shape]:
        axis = self.canonical_axis(self.param.reverse_param.axis, bottom)
        return Move(bottom, range(len(bottom)), {axis}), bottom


@register("ShuffleChannel", bottoms=1, tops=1)
class ShuffleChannel(Moves):
    """(n, c, ...) -> the same; top channel k * group + g is bottom channel g * c / group + k (Zhang et al. 2018)."""

    def move(self, bottom: Shape) -> tuple[Move, Shape]:
        group = self.param.shuffle_channel_param.group
        if len(bottom) < 2 or group < 1 or bottom[1] % group:
            raise self.error(f"group: {group} must divide the channels, axis 1 of bottom shape {bottom}")
        return Move((bottom[0], group, bottom[1] // group, math.prod(bottom[2:])), (0, 2, 1, 3)), bottom


@register("Reorg", bottoms=1, tops=1)
class Reorg(Moves):
    """(n, c, h, w) -> (n, c * s^2, h / s, w / s), s = `stride`, by YOLO v2's order of values (darknet: reorg_cpu).

    The bottom's memory is seen as (n, c / s^2, h, s, w, s), the two axes of length s are put before the channels, and
    the result is seen as the top. With `reverse` the other way: (n, c / s^2, h * s, w * s).
    """

    def move(self, bottom: Shape) -> tuple[Move, Shape]:
        n, c, h, w = self.expect_axes([bottom], 0, 4)
        s, reverse = self.param.reorg_param.stride, self.param.reorg_param.reverse
        if s < 1 or c % (s * s) or (not reverse and (h % s or w % s)):
            wanted = "the channels" if reverse else "height and width, and its square the channels"
            raise self.error(f"stride: {s} must divide {wanted}; the bottom has shape {bottom}")
        less = c // (s * s)
        if reverse:
            return Move((n, s, s, less, h, w), (0, 3, 4, 1, 5, 2)), (n, less, h * s, w * s)
        return Move((n, less, h, s, w, s), (0, 3, 5, 1, 2, 4)), (n, c * s * s, h // s, w // s)


@register("Flip", bottoms=1, tops=1)
class Flip(Moves):
    """(..., h, w) -> the same, mirrored along w by `flip_width` and along h by `flip_height`."""

    def move(self, bottom: Shape) -> tuple[Move, Shape]:
        p, axes = self.param.flip_param, len(bottom)
        if axes < 2:
            raise self.error(f"the bottom must have 2 axes at least, height and width, got shape {bottom}")
        mirrored = [axis for axis, flip in ((axes - 1, p.flip_width), (axes - 2, p.flip_height)) if flip]
        return Move(bottom, range(axes), mirrored), bottom


@register("DepthToSpace", bottoms=1, tops=1)
class DepthToSpace(Moves):
    """(n, c, h, w) -> (n, c / b^2, h * b, w * b), b = `block_size`; channels last for data_format NHWC (TensorFlow).

    The channels are seen as (b, b, c / b^2), and each b put after h or w.
    """

    def move(self, bottom: Shape) -> tuple[Move, Shape]:
        p, last = self.param.depth_to_space_param, channels_last(self, self.param.depth_to_space_param.data_format)
        shape, b = self.expect_axes([bottom], 0, 4), p.block_size
        n, h, w, c = shape if last else (shape[0], shape[2], shape[3], shape[1])
        if b < 1 or c % (b * b):
            raise self.error(f"block_size: {b} squared must divide the channels, {c} of bottom shape {bottom}")
        less = c // (b * b)
        if last:
            return Move((n, h, w, b, b, less), (0, 1, 3, 2, 4, 5)), (n, h * b, w * b, less)
        return Move((n, b, b, less, h, w), (0, 3, 4, 1, 5, 2)), (n, less, h * b, w * b)


def channels_last(layer: Layer, data_format: str) -> bool:
    """Whether TensorFlow's data_format says that channels are the last axis."""
    if data_format not in ("NCHW", "NHWC"):
        raise layer.error(f'data_format: "{data_format}" is not known; give "NCHW" or "NHWC"')
    return data_format == "NHWC"


@kernel("rearrange.cu", per="top_data")
def rearrange_forward(bottom_data: Floats, layout: Ints, top_data: Floats) -> None:
    """top[i] = bottom[layout[0] + sum over k of i_k * layout[7 + k]], i counted in an array of layout[1 + k] values"""
    start, extents, strides = int(layout[0]), layout[1 : 1 + AXES], layout[1 + AXES :]
    if top_data.size:
        seen = np.lib.stride_tricks.as_strided(bottom_data.reshape(-1)[start:], tuple(extents), tuple(4 * strides))
        np.copyto(top_data.reshape(tuple(extents)), seen)
