"""Crop: a part of a blob, as large as another one."""

import math
from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Ints, Shape
from caffepy.kernels import kernel
from caffepy.layer import Layer, State, register


@register("Crop", bottoms=2, tops=1)
class Crop(Layer):
    """bottom 0, reference -> bottom 0's extents before `axis`, the reference's from it on (Caffe: crop_layer.cpp).

    top[i, ...] = bottom[i + offset, ...], `offset` once for all axes from `axis` on or once for each, 0 if not given.
    Of the reference only the shape is used; it has no derivative.
    """

    reads = ()

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        bottom, reference = bottom_shapes
        axis = self.canonical_axis(self.param.crop_param.axis, bottom)
        if len(reference) != len(bottom):
            raise self.error(
                f"bottom {self.param.bottom[1]!r}, the reference, has shape {reference}; it must have as many axes as "
                f"bottom {self.param.bottom[0]!r}, {bottom}"
            )
        top = (*bottom[:axis], *reference[axis:])
        offsets = [0] * axis + self._offsets(len(bottom) - axis)
        for i, (extent, offset) in enumerate(zip(top, offsets, strict=True)):
            if offset + extent > bottom[i]:
                raise self.error(
                    f"axis {i}: {extent} from offset {offset} on do not fit into bottom shape {bottom}; lower it"
                )
        self._lay_out(bottom, top, offsets)
        return [top]

    def _offsets(self, axes: int) -> list[int]:
        given = list(self.param.crop_param.offset)
        if len(given) not in (0, 1, axes):
            raise self.error(f"{len(given)} offset for {axes} axes to crop; give none, one for all, or one for each")
        return given if len(given) == axes else (given or [0]) * axes

    def _lay_out(self, bottom: Shape, top: Shape, offsets: Sequence[int]) -> None:
        """Settle of which of the bottom's rows, its last axis, each of the top's is a part, and the other way round."""
        self.widths, self.offset = (bottom[-1], top[-1]), offsets[-1]
        kept = tuple(slice(first, first + extent) for first, extent in zip(offsets, top, strict=True))[:-1]
        rows = np.arange(math.prod(bottom[:-1]), dtype=np.int32).reshape(bottom[:-1])
        sources = rows[kept].reshape(-1)
        targets = np.full(rows.size, -1, np.int32)
        targets[sources] = np.arange(sources.size)
        self.sources: State = self.state("sources", sources.shape, np.int32)
        self.targets: State = self.state("targets", targets.shape, np.int32)
        self.sources.set(sources)
        self.targets.set(targets)

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        crop_forward(bottom[0].data, self.sources.array, *self.widths, self.offset, top[0].data)

    def differentiable(self, bottom_index: int) -> bool:
        return bottom_index == 0

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if propagate_down[0]:
            crop_backward(top[0].diff, self.targets.array, *self.widths, self.offset, bottom[0].diff)


@kernel("crop.cu", per="top_data")
def crop_forward(
    bottom_data: Floats, sources: Ints, bottom_width: int, width: int, offset: int, top_data: Floats
) -> None:
    """top[r, i] = bottom[sources[r], offset + i], for rows of `width` and of `bottom_width` values"""
    if top_data.size:
        part = bottom_data.reshape(-1, bottom_width)[:, offset : offset + width]
        np.take(part, sources, axis=0, out=top_data.reshape(-1, width))


@kernel("crop.cu", per="bottom_diff")
def crop_backward(
    top_diff: Floats, targets: Ints, bottom_width: int, width: int, offset: int, bottom_diff: Floats
) -> None:
    """bottom_diff[r, i] = top_diff[targets[r], i - offset], 0 where targets[r] is -1 or the top has no such i"""
    bottom_diff[...] = 0
    if top_diff.size:
        there = targets >= 0
        rows = bottom_diff.reshape(-1, bottom_width)
        rows[there, offset : offset + width] = top_diff.reshape(-1, width)[targets[there]]
