"""Pixels arranged so that what a sliding window's taps see is consecutive memory, whatever its stride and pad."""

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from caffepy.blob import Floats, Shape
from caffepy.layers.vision.window import PoolingWindow, Window

S = TypeVar("S", bound=np.generic)

BLOCK = 1 << 17
"""About how many pixels of planes are worked on together, so that they stay in the cache."""
RUN = 4096
"""Positions below which NumPy's cost of a call outweighs what the cache gains."""

Grid = tuple[tuple[slice, ...], Shape, int, list[int]]
"""Taps that see a run: which, how many, and, in elements, the first one's offset and how much further others' are."""


@dataclass(frozen=True)
class Axis:
    """One spatial axis. With stride s, padded pixels 0, s, 2s, ... come first, then 1, s + 1, ...: so many runs.

    What position p sees through tap t, padded pixel p * s + t * dilation, is number steps + p of a run, where
    taps[t] = (run, steps). Runs that no tap sees are left out. The pad at a run's end is, as far as it goes, the one
    at the start of the next in memory: `length` does not count it.
    """

    extent: int
    positions: int
    runs: int
    length: int
    taps: tuple[tuple[int, int], ...]
    pieces: tuple[tuple[int, slice, slice], ...]
    """Where the image's pixels are: in which run, where in it, and which they are."""

    @classmethod
    def arrange(cls, extent: int, positions: int, kernel: int, stride: int, pad: int, dilation: int) -> "Axis":
        """The axis of an image `extent` pixels long, for so many positions of the window."""
        taps = [divmod(tap * dilation, stride) for tap in range(kernel)]
        residues = sorted({residue for _, residue in taps})
        length = taps[-1][0] + positions
        pieces = []
        for run, residue in enumerate(residues):
            first = max(0, -((residue - pad) // stride))
            last = min(length, (extent - 1 + pad - residue) // stride + 1)
            if first < last:
                pixel = residue - pad + first * stride
                pieces.append((run, slice(first, last), slice(pixel, pixel + (last - first - 1) * stride + 1, stride)))
        numbered = tuple((residues.index(residue), steps) for steps, residue in taps)
        pads = [min(where.start, length - where.stop) for _, where, _ in pieces]
        length -= min([*pads, length - positions])
        return cls(extent, positions, len(residues), length, numbered, tuple(pieces))

    @property
    def grids(self) -> list[tuple[slice, int, int, int]]:
        """For each run: which taps see it, how many do, the first one's steps, how many more each next one has."""
        found = []
        for run in range(self.runs):
            seeing = [(tap, steps) for tap, (seen, steps) in enumerate(self.taps) if seen == run]
            (first, start), (second, further) = seeing[0], seeing[min(1, len(seeing) - 1)]
            found.append((slice(first, None, second - first or len(self.taps)), len(seeing), start, further - start))
        return found

    @property
    def plain(self) -> bool:
        """Whether the arranged pixels are the image's."""
        return self.pieces == ((0, slice(0, self.length), slice(0, self.extent, 1)),) and self.runs == 1

    @property
    def seen(self) -> int:
        """How many of the image's pixels the taps see."""
        return sum(where.stop - where.start for _, where, _ in self.pieces)


class Shifts:
    """Planes arranged so that each tap is an offset: what all positions see through it is one piece of memory.

    Arranged planes are (*runs, planes, *lengths) and some slack, `arranged_count(planes)` elements; results for the
    positions are (planes, *lengths), `size` elements a plane, of which those between the positions mean nothing.
    """

    def __init__(self, extent: Shape, positions: Shape, window: Window) -> None:
        per_axis = zip(extent, positions, window.kernel, window.stride, window.pad, window.dilation, strict=True)
        self._axes = [Axis.arrange(*values) for values in per_axis]
        self._runs = tuple(axis.runs for axis in self._axes)
        self._positions = tuple(slice(axis.positions) for axis in self._axes)
        self.lengths = tuple(axis.length for axis in self._axes)
        self.size = math.prod(self.lengths)
        self._taps = [
            (_offset(self._runs, [run for run, _ in taps]), _offset(self.lengths, [steps for _, steps in taps]))
            for taps in itertools.product(*(axis.taps for axis in self._axes))
        ]
        self.slack = max(steps for _, steps in self._taps)
        """How many steps a tap takes at most."""
        self._grids = [self._grid(*run) for run in itertools.product(*(axis.grids for axis in self._axes))]
        self.plain = all(axis.plain for axis in self._axes)

    def arranged_count(self, planes: int) -> int:
        """Elements of so many arranged planes."""
        return planes * math.prod(self._runs) * self.size + self.slack

    def together(self, planes: int) -> int:
        """How many planes `blocks` takes at a time, at most."""
        return max(1, min(planes, max(BLOCK // (self.size * math.prod(self._runs)), RUN // self.size)))

    def blocks(self, planes: int) -> Iterator[slice]:
        """Some planes at a time."""
        together = self.together(planes)
        for first in range(0, planes, together):
            yield slice(first, min(first + together, planes))

    def arrange(self, images: Floats, arranged: Floats, padding: float = 0) -> None:
        """From images (*planes, *extent) overwrite arranged planes, the slack too."""
        arranged[arranged.size - self.slack :] = padding
        planes = self._planes(arranged, images)
        if any(axis.seen < axis.runs * axis.length for axis in self._axes):
            planes[...] = padding
        for where, pixels in self._pieces():
            planes[where] = images[pixels]

    def collect(self, arranged: Floats, images: Floats) -> None:
        """From arranged planes overwrite images (*planes, *extent); pixels that no tap sees become 0."""
        planes = self._planes(arranged, images)
        if any(axis.seen < axis.extent for axis in self._axes):
            images[...] = 0
        for where, pixels in self._pieces():
            images[pixels] = planes[where]

    def seen_count(self, arranged: Floats) -> int:
        """Elements that the positions see of arranged planes through one tap, those between the positions included."""
        return (arranged.size - self.slack) // math.prod(self._runs)

    def seen(self, arranged: Floats) -> list[Floats]:
        """For each tap, in the window's order, what the positions see of arranged planes, laid out like results."""
        count = self.seen_count(arranged)
        starts = [run * count + steps for run, steps in self._taps]
        return [arranged[start : start + count] for start in starts]

    def windows(self, arranged: Floats) -> Iterator[tuple[tuple[slice, ...], Floats]]:
        """For each run, which taps see it, along each axis, and what the positions see through them.

        The latter is (*taps, count), of arranged planes, laid out like results.
        """
        count = self.seen_count(arranged)
        for run, (taps, number, start, further) in enumerate(self._grids):
            yield taps, _grid(arranged, run * count + start, number, further, count)

    def behind(self, results: Floats) -> Iterator[tuple[tuple[slice, ...], Floats]]:
        """For each run, which taps see it, along each axis, and the results of the positions that see its pixels.

        The latter is (*taps, count), laid out like arranged planes. There are `slack` zeros before the results.
        """
        count = results.size - self.slack
        for taps, number, start, further in self._grids:
            yield taps, _grid(results, self.slack - start, number, [-steps for steps in further], count)

    def at_positions(self, results: NDArray[S]) -> NDArray[S]:
        """Of results (*planes, size) or (planes * size) the positions' own: (*planes, *positions)."""
        planes = results.shape[:-1] if results.ndim > 1 else (-1,)
        return results.reshape(*planes, *self.lengths)[(*[slice(None)] * len(planes), *self._positions)]

    def spread(self, values: Floats, results: Floats) -> None:
        """Overwrite results with values (planes, *positions), and zeros between."""
        results[...] = 0
        self.at_positions(results)[...] = values

    def _planes(self, arranged: Floats, images: Floats) -> Floats:
        """(*planes, *runs, *lengths)"""
        runs, planes = len(self._runs), images.shape[: images.ndim - len(self._runs)]
        view = arranged[: arranged.size - self.slack].reshape(*self._runs, *planes, *self.lengths)
        return np.moveaxis(view, range(runs), range(len(planes), len(planes) + runs))

    def _grid(self, *run: tuple[slice, int, int, int]) -> "Grid":
        taps, number, start, further = zip(*run, strict=True)
        steps = [_offset(self.lengths, [further[i] * (i == axis) for i in range(len(run))]) for axis in range(len(run))]
        return taps, number, _offset(self.lengths, start), steps

    def _pieces(self) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
        for pieces in itertools.product(*(axis.pieces for axis in self._axes)):
            runs, where, pixels = zip(*pieces, strict=True)
            yield (..., *runs, *where), (..., *pixels)


@functools.lru_cache(maxsize=4096)
def shifts_of(height: int, width: int, pooled_height: int, pooled_width: int, window: PoolingWindow) -> Shifts:
    """For the planes that pooling slides its window over."""
    w = window
    each = Window((w.kernel_h, w.kernel_w), (w.stride_h, w.stride_w), (w.pad_h, w.pad_w), (1, 1))
    return Shifts((height, width), (pooled_height, pooled_width), each)


def _grid(memory: Floats, start: int, number: Shape, further: Sequence[int], count: int) -> Floats:
    """(*number, count): `count` elements from the memory's `start`, so many further for each step along an axis."""
    item = memory.itemsize
    strides = (*(item * steps for steps in further), item)
    return np.ndarray((*number, count), memory.dtype, memory, item * start, strides)


def _offset(shape: Shape, index: Sequence[int]) -> int:
    offset = 0
    for extent, i in zip(shape, index, strict=True):
        offset = offset * extent + i
    return offset


def cut(workspace: Floats, *shapes: Shape) -> list[Floats]:
    """Arrays of these shapes, one after the other in the workspace."""
    arrays, start = [], 0
    for shape in shapes:
        count = math.prod(shape)
        arrays.append(workspace[start : start + count].reshape(shape))
        start += count
    return arrays
