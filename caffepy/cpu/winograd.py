"""Convolution by windows of 3x3 with a quarter to a half of the products: Winograd's algorithm.

Where windows overlap, direct convolution multiplies every pixel nine times. Here tiles of m + 2 pixels a side, which
overlap by two, are transformed, so that one product for each of their (m + 2)^2 positions gives m^2 results. Each step
is a primitive for many tiles at once: the products are one batch of matrix products, the transforms matrix products
that are applied to rows and then to columns. Blocks of tiles are small enough to stay in the processor's cache.

Source: A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks", arXiv:1509.09308; the matrices are
those of A. Toom's and S. Cook's interpolation.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffepy.blob import Floats
from caffepy.cpu import arguments as a
from caffepy.cpu.build import Builder
from caffepy.cpu.folded_weights import MadeOfHost, scaled
from caffepy.cpu.folding import Fold
from caffepy.cpu.homes import Memories, own_call, reorder
from caffepy.cpu.tiles import TAPS, Block, Tiles, blocks, channels_last
from caffepy.device.onednn.handles import (
    Attributes,
    Layout,
    Memory,
    Primitive,
    address,
    contiguous,
    library,
    strided,
)


@dataclass(frozen=True)
class Origin:
    """What the tiles' weights and bias are made of.

    backward   for the gradient of the images, whose windows are turned about and lead from outputs to inputs
    """

    weight: Floats
    bias: Floats | None
    fold: Fold | None
    backward: bool = False

    @property
    def others(self) -> list[Floats]:
        """All but the weights."""
        return [*([] if self.bias is None else [self.bias]), *([] if self.fold is None else self.fold.sources)]


class TileWeights(MadeOfHost):
    """Weights (outputs, channels, 3, 3) for each position of a tile."""

    what = "weights in the form of tiles"

    def __init__(self, tiles: Tiles, shape: Sequence[int], *, backward: bool) -> None:
        outputs, channels = shape[:2]
        super().__init__(contiguous((tiles.side**2, *((outputs, channels) if backward else (channels, outputs)))))
        self._tiles, self._shape, self._backward = tiles, tuple(shape), backward

    def upload(self, host: NDArray[Any]) -> None:
        """Make them from those."""
        _transform(self._tiles, host[: np.prod(self._shape)].reshape(self._shape), self.memory, self._backward)


def _weights(b: Builder, tiles: Tiles, origin: Origin) -> tuple[Memory, Memory | None]:
    """The weights for each position, and of what is folded into them the shift; both kept up to date."""
    weight, fold, backward = origin.weight, origin.fold, origin.backward
    if fold is None:
        key = "tiles", tiles.edge, backward
        return b.derived(weight, key, lambda: TileWeights(tiles, weight.shape, backward=backward)).memory, None
    made = TileWeights(tiles, weight.shape, backward=backward)
    scale, shift = scaled(b, weight, origin.bias, fold)
    b.prepare([weight, *origin.others], lambda: made.upload(scale().reshape(-1)))
    return made.memory, shift


def _repeated(b: Builder, origin: Origin, shift: Memory | None, times: int) -> Memory | None:
    """The bias, so many times."""
    if origin.backward or (shift is None and origin.bias is None):
        return None
    outputs = len(origin.weight)
    memory = Memory(contiguous((1, 1, times * outputs)))
    repeated = memory.array((times, outputs))
    values = b.raw(origin.bias) if shift is None else shift.array((outputs,))
    sources = origin.others if shift is None else [origin.weight, *origin.others]
    b.prepare(sources, lambda: np.copyto(repeated, values.reshape(-1)))
    return memory


def _transform(tiles: Tiles, weight: Floats, target: Memory, backward: bool) -> None:
    outputs, channels = weight.shape[:2]
    taps, pairs = TAPS**2, outputs * channels
    steps = (channels, 1, pairs) if backward else (1, outputs, pairs)
    by_tap = Memory(contiguous((taps, pairs)))
    given, taken = contiguous((outputs, channels, taps)), strided((outputs, channels, taps), steps)
    source = Memory(given, address(weight), weight)
    own_call(reorder(given, taken), {a.SRC: source, a.DST: by_tap.viewed(taken)})()
    both = np.kron(tiles.weights, tiles.weights)
    matrix, result = _constant(both[:, ::-1] if backward else both), contiguous((len(both), pairs))
    product = _product(matrix.layout, by_tap.layout, result)
    own_call(product, {a.SRC: matrix, a.WEIGHTS: by_tap, a.DST: target.viewed(result)})()


def convolve(
    b: Builder, tiles: Tiles, pad: Sequence[int], source: Memory, target: Memory, origin: Origin, slope: float | None
) -> None:
    """target = source by weights, with a pad before it; bias and a ReLU with that slope at last."""
    parts = list(blocks(tiles, source.layout.shape, target.layout.shape))
    weights, shift = _weights(b, tiles, origin)
    bias = _repeated(b, origin, shift, max(block.number for block in parts))
    for block in parts:
        pixels = _pixels(b, block, pad, source)
        transformed = _forth(b, block, pixels, source.layout.shape[1])
        products = _products(b, block, transformed, weights)
        _back(b, block, products, bias, target, slope)


def _pixels(b: Builder, block: Block, pad: Sequence[int], source: Memory) -> Memory:
    """The pixels under the block's tiles, zeros where there are none."""
    _, channels, *extent = source.layout.shape
    layout, edge = block.pixels(channels), block.tiles.edge
    whole = b.passing(layout)
    first = block.row * edge - pad[0], -pad[1]
    begin = [max(0, f) for f in first]
    end = [min(e, f + n * edge + 2) for e, f, n in zip(extent, first, (block.rows, block.columns), strict=True)]
    shape, at = [e - s for s, e in zip(begin, end, strict=True)], [s - f for s, f in zip(begin, first, strict=True)]
    given = source.layout.part((block.images, channels, *shape), (block.image, 0, *begin))
    taken = layout.part((block.images, channels, *shape), (0, 0, *at))
    b.add(reorder(given, taken), {a.SRC: source.viewed(given), a.DST: whole.viewed(taken)})
    (height, width), (top, left), (high, wide) = layout.shape[2:], at, shape
    for size, place in (
        ((top, width), (0, 0)),
        ((height - top - high, width), (top + high, 0)),
        ((high, left), (top, 0)),
        ((high, width - left - wide), (top, left + wide)),
    ):
        if all(size):
            border = layout.part((block.images, channels, *size), (0, 0, *place))
            zeros = _zeros((block.images, channels, *size))
            b.add(reorder(zeros.layout, border), {a.SRC: zeros, a.DST: whole.viewed(border)})
    return whole


@functools.lru_cache(maxsize=256)
def _zeros(shape: tuple[int, int, int, int]) -> Memory:
    """Nobody writes to them, so that borders of one shape have one."""
    return Memory(channels_last(shape))


def _forth(b: Builder, block: Block, pixels: Memory, channels: int) -> Memory:
    """Tiles of the pixels, transformed."""
    edge, side = block.tiles.edge, block.tiles.side
    split, layout = block.split(channels, 1), block.gathered(channels, side)
    gathered, turned, result = (b.passing(block.all(channels, side * side)) for _ in range(3))
    for high, down in ((edge, 0), (TAPS - 1, 1)):
        for wide, right in ((edge, 0), (TAPS - 1, 1)):
            shape = block.images, block.rows, high, block.columns, wide, channels
            given = split.part(shape, (0, down, 0, right, 0, 0))
            taken = layout.part(shape, (0, 0, down * edge, 0, right * edge, 0))
            b.add(reorder(given, taken), {a.SRC: pixels.viewed(given), a.DST: gathered.viewed(taken)})
    matrix = _constant(block.tiles.source[None])
    across = block.positions(channels, side, side, across=True)
    along = block.positions(channels, side, side, across=False)
    for form, source, target in ((across, gathered, turned), (along, turned, result)):
        product = _product(matrix.layout, form, form)
        b.add(product, {a.SRC: matrix, a.WEIGHTS: source.viewed(form), a.DST: target.viewed(form)})
    return result


def _products(b: Builder, block: Block, transformed: Memory, weights: Memory) -> Memory:
    """For each position the product of all tiles and weights."""
    side = block.tiles.side
    positions, channels, outputs = weights.layout.shape
    target = b.passing(block.all(outputs, side * side))
    forms = [block.vectors(c, positions) for c in (channels, outputs)]
    memories: Memories = {a.SRC: transformed.viewed(forms[0]), a.WEIGHTS: weights, a.DST: target.viewed(forms[1])}
    b.add(_product(forms[0], weights.layout, forms[1]), memories)
    return target


def _back(
    b: Builder, block: Block, products: Memory, biases: Memory | None, target: Memory, slope: float | None
) -> None:
    """The results that the products stand for, put into their place in the target."""
    edge, side = block.tiles.edge, block.tiles.side
    _, outputs, *extent = target.layout.shape
    matrix = _constant(block.tiles.result[None])
    turned, result = b.passing(block.all(outputs, edge * side)), b.passing(block.all(outputs, edge * edge))
    given = block.positions(outputs, side, side, across=True)
    taken = block.positions(outputs, edge, side, across=True)
    primitive = _product(matrix.layout, given, taken)
    b.add(primitive, {a.SRC: matrix, a.WEIGHTS: products.viewed(given), a.DST: turned.viewed(taken)})
    given = block.positions(outputs, edge, side, across=False)
    taken = block.positions(outputs, edge, edge, across=False)
    bias = None if biases is None else biases.viewed(contiguous((1, 1, block.number * outputs)))
    primitive = _product(matrix.layout, given, taken, None if bias is None else bias.layout, slope)
    memories: Memories = {a.SRC: matrix, a.WEIGHTS: turned.viewed(given), a.BIAS: bias, a.DST: result.viewed(taken)}
    b.add(primitive, memories)
    whole = b.passing(block.results(outputs))
    given, taken = block.gathered(outputs, edge), block.split(outputs, 0)
    b.add(reorder(given, taken), {a.SRC: result.viewed(given), a.DST: whole.viewed(taken)})
    first = block.row * edge
    shape = block.images, outputs, min(block.rows * edge, extent[0] - first), extent[1]
    given = whole.layout.part(shape, (0, 0, 0, 0))
    taken = target.layout.part(shape, (block.image, 0, first, 0))
    b.add(reorder(given, taken), {a.SRC: whole.viewed(given), a.DST: target.viewed(taken)})


def _product(
    left: Layout, right: Layout, result: Layout, bias: Layout | None = None, slope: float | None = None
) -> Any:
    return Primitive("matmul", library().engine, left, right, bias, result, Attributes(slope=slope))


def _constant(values: NDArray[np.floating[Any]]) -> Memory:
    memory = Memory(contiguous(values.shape))
    memory.array(values.shape)[...] = values
    return memory
