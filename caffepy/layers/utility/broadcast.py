"""Mul and Add: two blobs, the extents of 1 in either stretched to the other's."""

import math
from collections.abc import Sequence
from itertools import zip_longest
from typing import ClassVar

import numpy as np

from caffepy.blob import Arrays, Floats, Ints, Shape
from caffepy.kernels import kernel
from caffepy.layer import Layer, State, register
from caffepy.layers.basis.elementwise import copy_backward

AXES = 6
"""Axes once those that both blobs have, or that the same one lacks, are one."""
Axis = tuple[int, bool, bool]
"""An extent of the top, and whether the first and the second bottom have it."""


class _Broadcast(Layer):
    """Both bottoms' shapes, aligned at their ends -> the larger extent of each axis."""

    multiplies: ClassVar[bool]

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.reads = ("bottom",) if self.multiplies else ()

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        first, second = bottom_shapes
        pairs = list(zip_longest(first[::-1], second[::-1], fillvalue=1))[::-1]
        if any(a != b and 1 not in (a, b) for a, b in pairs):
            raise self.error(f"bottom shapes {first} and {second} do not fit: make differing extents 1")
        top = tuple(a if b == 1 else b for a, b in pairs)
        axes = self._merged([(n, a == n, b == n) for n, (a, b) in zip(top, pairs, strict=True)])
        if len(axes) > AXES:
            raise self.error(f"bottom shapes {first} and {second} take turns in more than {AXES} axes; use two layers")
        axes = [(1, True, True)] * (AXES - len(axes)) + axes
        self.layouts = [self._layout(name, axes, order) for name, order in (("first", (1, 2)), ("second", (2, 1)))]
        self.reduces = [math.prod(shape) != math.prod(top) for shape in bottom_shapes]
        return [top]

    @staticmethod
    def _merged(axes: Sequence[Axis]) -> list[Axis]:
        merged: list[Axis] = []
        for extent, first, second in axes:
            if extent == 1:
                continue
            if merged and merged[-1][1:] == (first, second):
                merged[-1] = merged[-1][0] * extent, first, second
            else:
                merged.append((extent, first, second))
        return merged

    def _layout(self, name: str, axes: Sequence[Axis], order: tuple[int, int]) -> State:
        """The top's extents, then the strides of one bottom, then those of the other."""
        extents = [axis[0] for axis in axes]
        strides = [
            math.prod(axis[0] for axis in axes[k + 1 :] if axis[which]) if axes[k][which] else 0
            for which in order
            for k in range(AXES)
        ]
        state = self.state(name, (3 * AXES,), np.int32)
        state.set([*extents, *strides])
        return state

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        first, second = bottom
        layout = self.layouts[0].array
        broadcast_forward(first.data, second.data, layout, top[0].data, multiply=self.multiplies)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        for index, (layout, reduces) in enumerate(zip(self.layouts, self.reduces, strict=True)):
            if propagate_down[index]:
                other = bottom[1 - index].data if self.multiplies else None
                if reduces:
                    broadcast_backward(top[0].diff, other, layout.array, bottom[index].diff)
                elif other is None:
                    copy_backward(top[0].diff.reshape(bottom[index].shape), bottom[index].diff)
                else:
                    broadcast_forward(top[0].diff, other, layout.array, bottom[index].diff, multiply=True)


@register("Mul", bottoms=2, tops=1)
class Mul(_Broadcast):
    """Two shapes, aligned at their ends, extents equal or 1 -> the larger; top = first * second (TensorFlow)."""

    multiplies = True


@register("Add", bottoms=2, tops=1)
class Add(_Broadcast):
    """Two shapes, aligned at their ends, extents equal or 1 -> the larger; top = first + second (TensorFlow)."""

    multiplies = False


@kernel("broadcast.cu", per="top_data")
def broadcast_forward(
    first_data: Floats, second_data: Floats, layout: Ints, top_data: Floats, *, multiply: bool
) -> None:
    """top[i] = first[sum of i_k * layout[6 + k]] * second[sum of i_k * layout[12 + k]], or their sum

    i is counted in an array of layout[k] values.
    """
    if top_data.size:
        first, second = _seen(first_data, layout, AXES), _seen(second_data, layout, 2 * AXES)
        (np.multiply if multiply else np.add)(first, second, out=top_data.reshape(first.shape))


@kernel("broadcast_backward.cu", rows="bottom_diff")
def broadcast_backward(top_diff: Floats, other_data: Floats | None, layout: Ints, bottom_diff: Floats) -> None:
    """bottom_diff = the sum of top_diff, times the other bottom, over the axes whose stride layout[6 + k] is 0"""
    diff = top_diff.reshape(tuple(layout[:AXES]))
    product = diff if other_data is None else diff * _seen(other_data, layout, 2 * AXES)
    stretched = tuple(int(k) for k in np.flatnonzero(layout[AXES : 2 * AXES] == 0))
    np.copyto(bottom_diff, product.sum(axis=stretched, dtype=np.float32).reshape(bottom_diff.shape))


def _seen(data: Floats, layout: Ints, first: int) -> Floats:
    """The data under the top's extents, by the strides that begin at `first`."""
    strides = tuple(4 * layout[first : first + AXES])
    return np.lib.stride_tricks.as_strided(data.reshape(-1), tuple(layout[:AXES]), strides)
