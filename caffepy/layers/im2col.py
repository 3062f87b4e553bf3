"""Convolution as a matrix product: images unfolded into one column per position of the window, and folded back."""

import math
from collections.abc import Iterator

from caffepy.blob import Floats, Shape
from caffepy.layers.arranged import Axis, arrange, axes_of, collect
from caffepy.layers.window import Window

COLUMNS = 1 << 21
"""About how many elements of the column matrix are made at a time."""
POSITIONS = 256
"""Images are unfolded together up to so many positions: products with fewer columns are slow."""


class Columns:
    """How images (num, channels, *extent) are unfolded: `images` of them at a time, one axis after the other.

        arranged  (channels, images, length_0, length_1, ...)
        steps     from the last axis to axis 1, each (channels, its taps, taps of the later axes,
                  images and lengths of the earlier ones, its positions, positions of the later ones)
        columns   the same for axis 0, made from some of its positions at a time; a matrix (channels * taps, positions)

    A step that would change nothing is a view of the one before. `count` is the workspace all of it takes.
    """

    def __init__(self, num: int, channels: int, extent: Shape, window: Window) -> None:
        self.channels = channels
        self.axes = axes_of(extent, window.positions(extent), window)
        self.positions = math.prod(axis.positions for axis in self.axes)
        self.taps = math.prod(len(axis.taps) for axis in self.axes)
        together = max(1, min(num, POSITIONS // max(1, self.positions)))
        self.images = max((b for b in range(1, together + 1) if num % b == 0), default=1)
        self.plain = self.images == 1 and all(axis.plain for axis in self.axes)
        self.direct = self.plain and all(axis.single for axis in self.axes)
        self.rows = self.axes[0].positions
        if self.images == 1 and not self.axes[0].single:
            self.rows = max(1, min(self.rows, COLUMNS * self.rows // max(1, channels * self.taps * self.positions)))
        self._shapes = self._step_shapes()
        copied = [not self.plain, *(not axis.single for axis in reversed(self.axes))]
        self._sizes = [math.prod(shape) if copy else 0 for shape, copy in zip(self._shapes, copied, strict=True)]
        self.count = sum(self._sizes)

    def _step_shapes(self) -> list[Shape]:
        lengths = [axis.runs * axis.length for axis in self.axes]
        shapes: list[Shape] = [(self.channels, self.images, *lengths)]
        taps = inner = 1
        for i in range(len(self.axes) - 1, -1, -1):
            axis = self.axes[i]
            before = self.images * math.prod(lengths[:i])
            shapes.append((self.channels, len(axis.taps), taps, before, axis.positions if i else self.rows, inner))
            taps, inner = taps * len(axis.taps), inner * axis.positions
        return shapes

    def blocks(self) -> Iterator[tuple[int, int]]:
        """The ranges of axis 0's positions whose columns are made together."""
        for first in range(0, self.axes[0].positions, self.rows):
            yield first, min(first + self.rows, self.axes[0].positions)

    def steps(self, images: Floats, workspace: Floats) -> list[Floats]:
        """The arrays of all steps for these images (images, channels, *extent)."""
        arrays = [images]
        start = 0
        for shape, size in zip(self._shapes, self._sizes, strict=True):
            array = workspace[start : start + size] if size else arrays[-1]
            arrays.append(array.reshape(shape))
            start += size
        return arrays[1:]

    def matrix(self, steps: list[Floats], first: int, last: int) -> Floats:
        """Where the columns of positions `first` to `last` of axis 0 stand: (channels * taps, their number)."""
        return self._block(steps, first, last).reshape(self.channels * self.taps, -1)

    def unfold(self, images: Floats, steps: list[Floats]) -> None:
        """Make all steps but the columns."""
        if not self.plain:
            arrange(self.axes, images.swapaxes(0, 1), self._arranged(steps[0]))
        for axis, source, target in self._inner(steps):
            _spread(axis, source, target)

    def unfold_matrix(self, steps: list[Floats], first: int, last: int) -> Floats:
        """The columns of positions `first` to `last` of axis 0."""
        if not self.axes[0].single:
            _spread(self.axes[0], steps[-2], self._block(steps, first, last), first)
        return self.matrix(steps, first, last)

    def clear(self, steps: list[Floats]) -> None:
        """Start a sum of columns."""
        if not self.axes[0].single:
            steps[-2][...] = 0

    def add_matrix(self, steps: list[Floats], first: int, last: int) -> None:
        """Add what stands in the matrix to the step before it."""
        if not self.axes[0].single:
            _gather(self.axes[0], steps[-2], self._block(steps, first, last), first)

    def fold(self, steps: list[Floats], images: Floats) -> None:
        """Overwrite the images with what was added up: each pixel, the sum over all columns that see it."""
        for axis, source, target in reversed(list(self._inner(steps))):
            source[...] = 0
            _gather(axis, source, target)
        if not self.plain:
            collect(self.axes, self._arranged(steps[0]), images.swapaxes(0, 1))

    def _arranged(self, step: Floats) -> Floats:
        """The first step as (channels, images, *runs, *lengths)."""
        per_axis = [extent for axis in self.axes for extent in (axis.runs, axis.length)]
        ends = len(per_axis) + 2
        return step.reshape(*step.shape[:2], *per_axis).transpose(0, 1, *range(2, ends, 2), *range(3, ends, 2))

    def _inner(self, steps: list[Floats]) -> Iterator[tuple[Axis, Floats, Floats]]:
        for axis, source, target in zip(self.axes[:0:-1], steps, steps[1:], strict=False):
            if not axis.single:
                yield axis, source, target

    def _block(self, steps: list[Floats], first: int, last: int) -> Floats:
        channels, taps, later, before, _, inner = steps[-1].shape
        shape = channels, taps, later, before, last - first, inner
        return steps[-1].reshape(-1)[: math.prod(shape)].reshape(shape)


def _spread(axis: Axis, source: Floats, target: Floats, first: int = 0) -> None:
    """target[c, tap, t, r, p, i] = source[c, t, r, starts[tap] + first + p, i]"""
    for tap, seen in enumerate(_seen(axis, source, target.shape, first)):
        target[:, tap] = seen


def _gather(axis: Axis, source: Floats, target: Floats, first: int = 0) -> None:
    """source[c, t, r, starts[tap] + first + p, i] += target[c, tap, t, r, p, i]"""
    for tap, seen in enumerate(_seen(axis, source, target.shape, first)):
        seen += target[:, tap]


def _seen(axis: Axis, source: Floats, target: Shape, first: int) -> Iterator[Floats]:
    channels, _, taps, before, positions, inner = target
    pixels = source.reshape(channels, taps, before, axis.runs * axis.length, inner)
    for start in axis.starts:
        yield pixels[:, :, :, start + first : start + first + positions]
