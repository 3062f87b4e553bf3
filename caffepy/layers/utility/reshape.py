"""Reshape and Flatten: the same values under another shape."""

import math
from collections.abc import Sequence

from caffepy.blob import Arrays, Shape
from caffepy.layer import Layer, register


class _View(Layer):
    """The top is the bottom's memory, data and diff."""

    shares = "both"
    reads = ()

    def settle(self, bottom: Shape, top: Shape) -> Sequence[Shape]:
        """The top's shape; whether it keeps the bottom's rows is known by it."""
        self.row_bottoms = (0,) if bottom and top[:1] == bottom[:1] else ()
        return [top]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        """The top shares the bottom's data."""

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        """The top shares the bottom's diff."""


@register("Flatten", bottoms=1, tops=1)
class Flatten(_View):
    """(a, ..., b, ..., c, ..., d) -> (a, ..., b * ... * c, ..., d): the axes `axis` to `end_axis` become one."""

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        shape, p = bottom_shapes[0], self.param.flatten_param
        first = self.canonical_axis(p.axis, shape)
        last = self.canonical_axis(p.end_axis, shape, "end_axis")
        if last < first:
            raise self.error(f"end_axis {p.end_axis} lies before axis {p.axis} of bottom shape {shape}; swap them")
        return self.settle(shape, (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :]))


@register("Reshape", bottoms=1, tops=1)
class Reshape(_View):
    """Any shape -> the same with `num_axes` axes from `axis` on replaced by `shape`.

    In `shape`, 0 copies the bottom's extent at the same place; one -1 takes what is left (Caffe: reshape_layer.cpp).
    """

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.dims = list(self.param.reshape_param.shape.dim)
        if self.dims.count(-1) > 1 or min(self.dims, default=0) < -1:
            raise self.error(f"shape {self.dims}: dims are 0 (copy), -1 (what is left, once at most) or positive")

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        shape = bottom_shapes[0]
        start, end = self._replaced(shape)
        for index, dim in enumerate(self.dims, start):
            if dim == 0 and index >= len(shape):
                raise self.error(
                    f"shape {self.dims}: dim {index - start} is 0 (copy), but bottom shape {shape} has no axis "
                    f"{index}; give the dim's extent"
                )
        new = [dim or shape[index] for index, dim in enumerate(self.dims, start)]
        inferred = self._inferred(new, shape, math.prod(shape[start:end]))
        return self.settle(shape, (*shape[:start], *inferred, *shape[end:]))

    def _replaced(self, shape: Shape) -> tuple[int, int]:
        """The first of the bottom's axes that `shape` replaces, and the one after the last."""
        p, axes = self.param.reshape_param, len(shape)
        start = p.axis if p.axis >= 0 else axes + 1 + p.axis
        if not 0 <= start <= axes:
            raise self.error(f"axis: {p.axis} is outside bottom shape {shape}; give {-axes - 1} to {axes}")
        end = axes if p.num_axes == -1 else start + p.num_axes
        if p.num_axes < -1 or end > axes:
            raise self.error(
                f"num_axes: {p.num_axes} from axis {start} on is outside bottom shape {shape}; "
                f"give 0 to {axes - start}, or -1 for all"
            )
        return start, end

    def _inferred(self, new: list[int], shape: Shape, count: int) -> list[int]:
        """`new` with its -1 replaced, checked against the count it must have."""
        known = math.prod(dim for dim in new if dim != -1)
        if -1 in new:
            if known == 0 or count % known:
                raise self.error(f"shape {self.dims}: bottom shape {shape} leaves no whole number for -1; change a dim")
            new[new.index(-1)] = count // known
        elif known != count:
            raise self.error(f"shape {self.dims} holds {known} values, but it replaces {count} of bottom shape {shape}")
        return new
