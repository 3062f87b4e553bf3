"""Convolution as a matrix product: images unfolded into one column per position of the window, and folded back.

The layer Im2col shows the columns.
"""

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Ints, Shape
from caffepy.kernels import kernel
from caffepy.layer import Layer, State, register
from caffepy.layers.basis.elementwise import BLOCK
from caffepy.layers.vision.arranged import Shifts, cut
from caffepy.layers.vision.window import Window
from caffepy.limits import ENTRY, STEP

COLUMNS = 1 << 21
"""About how many elements of the column matrix are made at a time: of some images, or of some rows of one."""
POSITIONS = 256
"""How many positions make a product worth its while where images need no unfolding: fewer, and some go together."""


class Columns:
    """How images (num, channels, *extent) and tops (num, outputs, *positions) of a convolution become matrices.

    `images` of them are taken at a time. Their pixels are arranged (see Shifts), so that a row of the column matrix
    (channels * taps, columns) is one piece of an arranged plane. It has columns between the positions too, cheaper to
    compute than to leave out: tops take the `wide` form (outputs, images, positions of axis 0, lengths of the others).
    With one tap, no pad and no stride, the column matrix is the image itself and the wide top the top: `direct`.
    """

    def __init__(self, num: int, channels: int, outputs: int, extent: Shape, window: Window) -> None:
        self.positions = window.positions(extent)
        self.shifts = Shifts(extent, self.positions, window)
        self.kernel, self.taps = window.kernel, math.prod(window.kernel)
        positions = max(1, math.prod(self.positions))
        as_it_is = self.taps == 1 and self.shifts.plain
        together = POSITIONS // positions if as_it_is else COLUMNS // (channels * self.taps * positions)
        self.images = max((b for b in range(1, min(num, together) + 1) if num % b == 0), default=1)
        self.direct = self.images == 1 and as_it_is
        self.planes = channels, self.images
        self.wide = outputs, self.images, self.positions[0], *self.shifts.lengths[1:]
        self.inner = math.prod(self.wide[3:])
        self.rows = self.positions[0]
        if self.images == 1 and self.taps > 1:
            self.rows = max(1, min(self.rows, COLUMNS // max(1, channels * self.taps * self.inner)))
        self.sizes = (
            0 if self.direct else self.shifts.arranged_count(math.prod(self.planes)),
            0 if self.taps == 1 else math.prod(self.planes) * self.taps * self.rows * self.inner,
            0 if self.direct else math.prod(self.wide),
        )
        self.count = sum(self.sizes)
        """Elements of workspace for all of it."""


class Unfolding:
    """Some images and tops of a convolution, in the forms that `columns` gives them.

    `arrange` and `widen` read the images and the tops, `collect` and `crop` overwrite them; between those, products
    are made block by block from `matrix` (group, channels * taps, columns) and `product` (group, outputs, columns).
    """

    def __init__(self, columns: Columns, group: int, images: Floats, tops: Floats, workspace: Floats) -> None:
        self._columns, self._group = columns, group
        self._images, self._tops = images.swapaxes(0, 1), tops.swapaxes(0, 1)
        self._arranged, self._block, self._wide = cut(workspace, *((size,) for size in columns.sizes))
        if columns.direct:
            self._arranged, self._wide = images.reshape(-1), tops.reshape(-1)

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Ranges of positions of axis 0 whose columns are made together."""
        for first in range(0, self._columns.positions[0], self._columns.rows):
            yield first, min(first + self._columns.rows, self._columns.positions[0])

    def arrange(self) -> None:
        """Make ready for `unfold`."""
        if not self._columns.direct:
            self._columns.shifts.arrange(self._images, self._arranged)

    def widen(self) -> None:
        """Make what `product` gives from the tops, zero between the positions."""
        if not self._columns.direct:
            wide = self._wide.reshape(self._columns.wide)
            if wide.shape != self._tops.shape:
                wide[...] = 0
            wide[self._positions()] = self._tops

    def crop(self, bias: Floats | None) -> None:
        """Overwrite the tops with what was written to `product`, plus the bias (outputs)."""
        if not self._columns.direct:
            self._tops[...] = self._wide.reshape(self._columns.wide)[self._positions()]
        if bias is not None:
            self._tops += bias.reshape(-1, *[1] * (self._tops.ndim - 1))

    def clear(self) -> None:
        """Make ready for `fold`."""
        if self._columns.taps > 1:
            self._arranged[...] = 0

    def collect(self) -> None:
        """Overwrite the images with the sums that `fold` made."""
        if not self._columns.direct:
            self._columns.shifts.collect(self._arranged, self._images)

    def product(self, first: int, last: int) -> Floats:
        """Of the wide tops, positions `first` to `last` of axis 0."""
        outputs, images, rows, *_ = self._columns.wide
        inner = self._columns.inner
        wide = self._wide.reshape(outputs, images * rows * inner)
        if images == 1:
            wide = wide[:, first * inner : last * inner]
        return wide.reshape(self._group, outputs // self._group, -1)

    def matrix(self, first: int, last: int) -> Floats:
        """Where the columns of positions `first` to `last` of axis 0 stand, not made yet."""
        channels, images = self._columns.planes
        memory = self._block if self._columns.taps > 1 else self._arranged
        count = channels * self._columns.taps * images * (last - first) * self._columns.inner
        return memory[:count].reshape(self._group, channels // self._group * self._columns.taps, -1)

    def unfold(self, first: int, last: int) -> Floats:
        """The columns of positions `first` to `last` of axis 0."""
        matrix, columns = self.matrix(first, last), self._columns
        if columns.taps > 1:
            rows, axes = matrix.reshape(columns.planes[0], *columns.kernel, columns.planes[1], -1), len(columns.kernel)
            for taps, seen in columns.shifts.windows(self._arranged):
                pixels = seen.reshape(*seen.shape[:-1], *columns.planes, columns.shifts.size)
                pixels = pixels[..., first * columns.inner : last * columns.inner]
                rows[(slice(None), *taps)] = pixels.transpose(axes, *range(axes), axes + 1, axes + 2)
        return matrix

    def fold(self, first: int, last: int) -> None:
        """Add the columns of these positions to the pixels that they come from."""
        columns = self._columns
        if columns.taps > 1:
            rows = self.matrix(first, last).reshape(columns.planes[0], columns.taps, columns.planes[1], -1)
            for tap, seen in enumerate(columns.shifts.seen(self._arranged)):
                pixels = seen.reshape(*columns.planes, columns.shifts.size)
                pixels[:, :, first * columns.inner : last * columns.inner] += rows[:, tap]

    def _positions(self) -> tuple[slice, ...]:
        return slice(None), slice(None), *(slice(extent) for extent in self._columns.positions)


@register("Im2col", bottoms=1, tops=1)
class Im2col(Layer):
    """(..., c, *extent) -> (..., c * taps, *positions), c in convolution_param's `axis`: what convolution multiplies.

    top[c, k, p] = bottom[c, p * stride + k * dilation - pad], zeros outside (Caffe: im2col_layer.cpp).
    """

    reads = ()

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p, bottom = self.param.convolution_param, bottom_shapes[0]
        self.axis = self.canonical_axis(p.axis, bottom)
        self.window = Window.read(p, len(bottom) - self.axis - 1, self.error)

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        bottom = self.expect_axes(bottom_shapes, 0, self.axis + 1 + len(self.window.kernel))
        extent = bottom[self.axis + 1 :]
        positions = self.window.positions(extent)
        if min(positions, default=1) < 1:
            raise self.error(f"the window {self.window} does not fit into the bottom, whose shape is {bottom}")
        taps, padded = (
            math.prod(self.window.kernel),
            math.prod(e + 2 * p for e, p in zip(extent, self.window.pad, strict=True)),
        )
        self.pixels: State = self.state("pixels", (taps, math.prod(positions)), np.int32)
        self.places: State = self.state("places", (taps, math.prod(extent)), np.int32)
        self.reserve_work(STEP * taps, 4 * padded + ENTRY * taps)
        pixels = self._pixels(extent, positions)
        places = np.full((len(pixels), math.prod(extent)), -1, np.int32)
        for seen, at in zip(pixels, places, strict=True):
            at[seen[seen >= 0]] = np.flatnonzero(seen >= 0)
        self.pixels.set(pixels)
        self.places.set(places)
        self.sizes = len(pixels), pixels.shape[1], places.shape[1]
        return [(*bottom[: self.axis], bottom[self.axis] * len(pixels), *positions)]

    def _pixels(self, extent: Shape, positions: Shape) -> Ints:
        """(taps, positions): which pixel of a plane the position sees through the tap, -1 for one outside."""
        w = self.window
        padded = np.full([e + 2 * p for e, p in zip(extent, w.pad, strict=True)], -1, np.int32)
        inside = tuple(slice(p, p + e) for e, p in zip(extent, w.pad, strict=True))
        padded[inside] = np.arange(math.prod(extent)).reshape(extent)
        steps = list(zip(positions, w.stride, w.dilation, strict=True))
        seen = [
            padded[tuple(slice(k * d, k * d + (n - 1) * s + 1, s) for k, (n, s, d) in zip(tap, steps, strict=True))]
            for tap in itertools.product(*map(range, w.kernel))
        ]
        return np.stack(seen).reshape(len(seen), -1)

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        im2col_forward(bottom[0].data, self.pixels.array, *self.sizes, top[0].data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if propagate_down[0]:
            im2col_backward(top[0].diff, self.places.array, *self.sizes, bottom[0].diff)


@kernel("im2col.cu", per="top_data")
def im2col_forward(bottom_data: Floats, pixels: Ints, taps: int, positions: int, extent: int, top_data: Floats) -> None:
    """top[plane, t, p] = bottom[plane, pixels[t, p]], 0 where that is -1; for planes of `extent` pixels"""
    top = top_data.reshape(-1, taps, positions)
    np.take(bottom_data.reshape(-1, extent), pixels, axis=1, out=top, mode="clip")
    top[:, pixels < 0] = 0


@kernel("im2col.cu", per="bottom_diff")
def im2col_backward(
    top_diff: Floats, places: Ints, taps: int, positions: int, extent: int, bottom_diff: Floats
) -> None:
    """bottom_diff[plane, i] = the sum over t of top_diff[plane, t, places[t, i]], of those that are not -1"""
    diff, top = bottom_diff.reshape(-1, extent), top_diff.reshape(-1, taps, positions)
    planes = max(1, BLOCK // max(1, extent))
    seen = np.empty((min(planes, len(diff)), extent), np.float32)
    unseen = places < 0
    diff[...] = 0
    for first in range(0, len(diff), planes):
        total = diff[first : first + planes]
        part = seen[: len(total)]
        for tap in range(taps):
            np.take(top[first : first + planes, tap], places[tap], axis=1, out=part, mode="clip")
            part[:, unseen[tap]] = 0
            total += part
