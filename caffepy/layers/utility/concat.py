"""Concat and Slice: blobs joined along an axis, and a blob cut along it."""

import itertools
import math
from collections.abc import Sequence

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import Layer, register
from caffepy.proto.caffe_pb2 import ConcatParameter, SliceParameter


class _AlongAxis(Layer):
    """A whole blob and its parts: per index before the axis, the parts' values follow one another in the whole's."""

    reads = ()

    def _read_axis(self, p: ConcatParameter | SliceParameter, legacy: str) -> None:
        """`axis`, or the legacy field that cannot be negative."""
        if p.HasField("axis") and p.HasField(legacy):
            raise self.error(f"give axis or {legacy}, not both")
        self.axis: int = getattr(p, legacy) if p.HasField(legacy) else p.axis

    def _lay_out(self, whole: Shape, axis: int, extents: Sequence[int]) -> None:
        """Settle how many runs of values there are, how long one is, and where in it each part stands."""
        inner = math.prod(whole[axis + 1 :])
        self.runs, self.run = math.prod(whole[:axis]), whole[axis] * inner
        self.sizes = [extent * inner for extent in extents]
        self.offsets = [0, *itertools.accumulate(self.sizes)][: len(extents)]

    def _join(self, parts: Sequence[Floats], whole: Floats) -> None:
        for part, size, offset in zip(parts, self.sizes, self.offsets, strict=True):
            concat_forward(part, self.runs, size, offset, self.run, whole)

    def _cut(self, whole: Floats, parts: Sequence[Floats | None]) -> None:
        for part, size, offset in zip(parts, self.sizes, self.offsets, strict=True):
            if part is not None:
                slice_forward(whole, self.runs, size, offset, self.run, part)


@register("Concat", bottoms=(1, None), tops=1)
class Concat(_AlongAxis):
    """Shapes that differ along `axis` only -> (..., sum of the extents along it, ...)."""

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self._read_axis(self.param.concat_param, "concat_dim")
        if len(bottom_shapes) == 1:
            self.shares = "both"

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        first = bottom_shapes[0]
        axis = self.canonical_axis(self.axis, first)
        for name, shape in zip(self.param.bottom, bottom_shapes, strict=True):
            if len(shape) != len(first) or _without(shape, axis) != _without(first, axis):
                raise self.error(
                    f"bottom {name!r} has shape {shape}, bottom {self.param.bottom[0]!r} has {first}; "
                    f"they may differ along axis {axis} only"
                )
        self.row_bottoms = range(len(bottom_shapes)) if axis else ()
        extents = [shape[axis] for shape in bottom_shapes]
        top = (*first[:axis], sum(extents), *first[axis + 1 :])
        self._lay_out(top, axis, extents)
        return [top]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        self._join([arrays.data for arrays in bottom], top[0].data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        wanted = [arrays.diff if down else None for arrays, down in zip(bottom, propagate_down, strict=True)]
        self._cut(top[0].diff, wanted)


@register("Slice", bottoms=1, tops=(1, None))
class Slice(_AlongAxis):
    """(..., c, ...) -> tops with c cut along `axis`: at every slice_point, or into equal parts."""

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self._read_axis(self.param.slice_param, "slice_dim")
        if len(self.param.top) == 1:
            self.shares = "both"

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        bottom = bottom_shapes[0]
        axis = self.canonical_axis(self.axis, bottom)
        self.row_bottoms = (0,) if axis else ()
        extents = self._extents(bottom, axis)
        self._lay_out(bottom, axis, extents)
        return [(*bottom[:axis], extent, *bottom[axis + 1 :]) for extent in extents]

    def _extents(self, bottom: Shape, axis: int) -> list[int]:
        """Each top's extent along the axis."""
        tops, points = len(self.param.top), list(self.param.slice_param.slice_point)
        if not points:
            if bottom[axis] % tops:
                raise self.error(
                    f"axis {axis} of bottom shape {bottom} does not divide into {tops} equal tops; give slice_point"
                )
            return [bottom[axis] // tops] * tops
        if len(points) != tops - 1:
            raise self.error(f"{len(points)} slice_point for {tops} tops; give {tops - 1}, or none for equal parts")
        edges = [0, *points, bottom[axis]]
        extents = [end - start for start, end in itertools.pairwise(edges)]
        if min(extents) <= 0:
            raise self.error(f"slice_point {points} must increase and lie inside axis {axis} of bottom shape {bottom}")
        return extents

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        self._cut(bottom[0].data, [arrays.data for arrays in top])

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if propagate_down[0]:
            self._join([arrays.diff for arrays in top], bottom[0].diff)


def _without(shape: Shape, axis: int) -> Shape:
    return (*shape[:axis], *shape[axis + 1 :])


@kernel("concat.cu", per="part", each=4)
def concat_forward(part: Floats, runs: int, size: int, offset: int, run: int, whole: Floats) -> None:
    """whole[r, offset + i] = part[r, i], for arrays of `runs` rows of `run` and of `size` values"""
    whole.reshape(runs, run)[:, offset : offset + size] = part.reshape(runs, size)


@kernel("concat.cu", per="part", each=4)
def slice_forward(whole: Floats, runs: int, size: int, offset: int, run: int, part: Floats) -> None:
    """part[r, i] = whole[r, offset + i], for arrays of `runs` rows of `run` and of `size` values"""
    part.reshape(runs, size)[...] = whole.reshape(runs, run)[:, offset : offset + size]
