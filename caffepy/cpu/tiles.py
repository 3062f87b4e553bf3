"""The tiles of Winograd's algorithm: their transforms, which convolutions they pay for, how they lie in memory."""

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from caffepy.cpu.record import Operation
from caffepy.device.onednn.handles import Layout, contiguous, strided

TAPS = 3
"""Of a window, each way."""
_BLOCK = 8 << 20
"""Bytes of transformed tiles that are worked on at once."""
_GAP = 16
"""Elements between the values of two positions of tiles: at multiples of a page they would displace one another."""
_CHANNELS = 16
"""Of which a block of the library's widest layout has so many; what pads a block is not known to be zero afterwards."""
_PAYS = 0.8
"""Share of the direct convolution's cost below which it is worth the memory of transformed weights."""
_READ, _CALLS = 26, 8e6
"""What reading a weight costs, and what calling the primitives does, in operations of a product."""


@dataclass(frozen=True, eq=False)
class Tiles:
    """Tiles of `edge` results a side, and the points between which their polynomials are interpolated.

    moving   what the transforms and moves of a tile cost for one channel, in operations of a product: between what they
             are where threads have a cache in common and five times that, where they seem to have none
    """

    edge: int
    points: tuple[Fraction, ...]
    moving: int

    @property
    def side(self) -> int:
        """Of a tile of the source, in pixels."""
        return self.edge + TAPS - 1

    @functools.cached_property
    def source(self) -> NDArray[np.float64]:
        """(side, side) from pixels: by the polynomials that are zero at all points but one, and at all."""
        rows = [[*_polynomial([q for q in self.points if q != p]), 0] for p in self.points]
        return np.array([*rows, _polynomial(self.points)], np.float64)

    @functools.cached_property
    def weights(self) -> NDArray[np.float64]:
        """(side, TAPS) from weights: their polynomial's value at each point."""
        scale = [math.prod((p - q for q in self.points if q != p), start=Fraction(1)) for p in self.points]
        rows = [[p**k / s for k in range(TAPS)] for p, s in zip(self.points, scale, strict=True)]
        return np.array([*rows, [0] * (TAPS - 1) + [1]], np.float64)

    @functools.cached_property
    def result(self) -> NDArray[np.float64]:
        """(edge, side) to results."""
        last = [int(k == self.edge - 1) for k in range(self.edge)]
        return np.array([[*(p**k for p in self.points), last[k]] for k in range(self.edge)], np.float64)

    def count(self, extent: int) -> int:
        """How many it takes for so many results in a row."""
        return -(-extent // self.edge)


def _polynomial(roots: Sequence[Fraction]) -> list[Fraction]:
    """Coefficients from the constant on."""
    found = [Fraction(1)]
    for root in roots:
        found = [up - root * same for up, same in zip([Fraction(0), *found], [*found, Fraction(0)], strict=True)]
    return found


SMALL = Tiles(2, (Fraction(0), Fraction(1), Fraction(-1)), 1800)
LARGE = Tiles(4, (Fraction(0), Fraction(5, 8), Fraction(-5, 8), Fraction(3, 2), Fraction(-3, 2)), 5400)
"""With these points its rounding is a third of what it is with 1, -1, 2, -2, and all but the weights' factors exact."""
_SIZES = SMALL, LARGE


def tiles_for(operation: Operation, source: Sequence[int], target: Sequence[int]) -> Tiles | None:
    """The tiles that the convolution of `source` to `target` is best done with, None for the direct one."""
    window, grouped = operation.constants["window"], operation.constants["group"] > 1
    if window.kernel != (TAPS, TAPS) or grouped or any(x != 1 for x in (*window.stride, *window.dilation)):
        return None
    if any(pad >= TAPS for pad in window.pad) or source[1] % _CHANNELS or target[1] % _CHANNELS:
        return None
    pairs, (num, _, height, width) = source[1] * target[1], target
    direct = (2 * num * height * width + _READ) * TAPS**2 * pairs

    def cost(tiles: Tiles) -> float:
        number, positions = num * tiles.count(height) * tiles.count(width), tiles.side**2
        moved = tiles.moving * number * (source[1] + target[1])
        return (2 * number + _READ) * positions * pairs + moved + _CALLS

    best = min(_SIZES, key=cost)
    return best if cost(best) < _PAYS * direct else None


@dataclass(frozen=True)
class Block:
    """Tiles that are worked on together: of some images, some rows of all columns."""

    tiles: Tiles
    image: int
    images: int
    row: int
    rows: int
    columns: int

    @property
    def number(self) -> int:
        """Of tiles."""
        return self.images * self.rows * self.columns

    def pixels(self, channels: int) -> Layout:
        """Of the pixels under the tiles, channels last: (images, channels, height, width), some more than needed."""
        height, width = (self.rows + 1) * self.tiles.edge, (self.columns + 1) * self.tiles.edge
        return channels_last((self.images, channels, height, width))

    def results(self, channels: int) -> Layout:
        """Of the tiles' results, channels last."""
        edge = self.tiles.edge
        return channels_last((self.images, channels, self.rows * edge, self.columns * edge))

    def split(self, channels: int, more: int) -> Layout:
        """Of the same memory by tiles: (images, rows, edge, columns, edge, channels)."""
        edge, rows, columns = self.tiles.edge, self.rows + more, self.columns + more
        return _dense((self.images, rows, edge, columns, edge, channels))

    def gathered(self, channels: int, side: int) -> Layout:
        """Of tiles by position, as (images, rows, side, columns, side, channels)."""
        inner = self.number * channels
        step = inner + _GAP
        row = self.columns * channels
        shape = self.images, self.rows, side, self.columns, side, channels
        return strided(shape, (self.rows * row, row, side * step, channels, step, 1))

    def all(self, channels: int, positions: int) -> Layout:
        """Of the memory that this takes for so many positions of a tile."""
        return contiguous((positions * (self.number * channels + _GAP),))

    def vectors(self, channels: int, positions: int) -> Layout:
        """Of tiles by position, as (positions, tiles, channels)."""
        return strided((positions, self.number, channels), (self.number * channels + _GAP, channels, 1))

    def positions(self, channels: int, outer: int, inner: int, *, across: bool) -> Layout:
        """Of tiles by position, as (outer, inner, tiles and channels) or, `across`, with outer and inner exchanged."""
        values = self.number * channels
        step = values + _GAP
        if across:
            return strided((inner, outer, values), (step, inner * step, 1))
        return strided((outer, inner, values), (inner * step, step, 1))


def channels_last(shape: tuple[int, int, int, int]) -> Layout:
    """Of images of that shape, one pixel's channels after another's."""
    _, channels, height, width = shape
    return strided(shape, (height * width * channels, 1, width * channels, channels))


def _dense(shape: tuple[int, ...]) -> Layout:
    steps = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    return strided(shape, tuple(steps))


def blocks(tiles: Tiles, source: Sequence[int], target: Sequence[int]) -> Iterator[Block]:
    """All tiles of a convolution."""
    (num, outputs, height, width), channels = target, source[1]
    rows, columns = tiles.count(height), tiles.count(width)
    fitting = max(1, _BLOCK // (4 * tiles.side**2 * columns * (channels + outputs)))
    images = max(1, min(num, fitting // rows))
    high = -(-rows // -(-rows // fitting))
    for image in range(0, num, images):
        for row in range(0, rows, high):
            yield Block(tiles, image, min(images, num - image), row, min(high, rows - row), columns)
