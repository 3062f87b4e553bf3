"""Matrix products on a GPU: the tiles that kernels/gemm.cuh can be compiled for, and which one suits a product.

A product sums `terms` terms for each of `rows` x `columns` results. A block computes one tile of results. Where there
are too few tiles to fill the device, the terms are split: each part goes to the workspace, and a second kernel adds the
parts in their order, so that the same product gives the same bits every time.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from caffepy import device
from caffepy.kernels import THREADS, Launch

PARTS = 1 << 22
"""Elements of workspace that the parts of one product take at most: 16 MiB, which stay in a large GPU's L2 cache."""
MOST_PARTS = 64
"""Parts of one product at most; the second kernel's threads add up so many each."""


@dataclass(frozen=True)
class Multiprocessors:
    """What a GPU has: how many, the shared memory of each, and ten times its compute capability."""

    number: int
    shared_bytes: int
    capability: int


H200 = Multiprocessors(132, 227 << 10, 90)
"""For plans that are made without a GPU."""


@dataclass(frozen=True)
class Tile:
    """Constants of kernels/gemm.cuh: a block's results, terms staged at a time, a thread's results."""

    tile_m: int
    tile_n: int
    tile_k: int
    thread_m: int
    thread_n: int
    resident: int
    """Blocks that find registers on one multiprocessor."""
    oldest: int = 75
    """The compute capability from which on they do: for older ones the compiler spills some."""

    @property
    def threads(self) -> int:
        """Of a block."""
        return self.tile_m // self.thread_m * (self.tile_n // self.thread_n)

    @property
    def shared_bytes(self) -> int:
        """Of a block: two slabs of either operand, two tables of terms, and the 1 KiB that CUDA takes."""
        return 8 * self.tile_k * (self.tile_m + 4 + self.tile_n + 4 + 4) + 4 + 1024

    def on(self, multiprocessors: Multiprocessors) -> "Tile":
        """The tile with as many blocks resident as find shared memory, too."""
        return replace(self, resident=min(self.resident, multiprocessors.shared_bytes // self.shared_bytes))

    @property
    def constants(self) -> dict[str, int]:
        """What kernels/gemm.cuh is compiled for."""
        return {name: value for name, value in asdict(self).items() if name != "oldest"}


LARGE = Tile(128, 128, 16, 8, 8, resident=2, oldest=90)
FLAT = Tile(128, 128, 8, 8, 8, resident=2)
LONG = Tile(128, 64, 16, 8, 4, resident=2)
"""For operands that need more registers to be found in memory than the larger tiles leave."""
MIDDLE = Tile(64, 64, 16, 8, 4, resident=4)
NARROW = Tile(64, 32, 16, 8, 4, resident=8)
SMALL = Tile(32, 32, 16, 4, 4, resident=10)
LOW = Tile(16, 128, 16, 4, 4, resident=4)
THIN = Tile(4, 128, 16, 4, 1, resident=8)
"""For a product of three or four rows: the diff of a colour image."""


Argument = str | int | float
"""Of a launch: the name of the operation's, or a number."""


@dataclass(frozen=True)
class Product:
    """What is to be computed: `number` products of this size; the instructions that fetching an element takes."""

    rows: int
    columns: int
    terms: int
    number: int
    left_cost: float
    right_cost: float

    @property
    def results(self) -> int:
        """Elements that all products have together."""
        return self.rows * self.columns * self.number


@dataclass(frozen=True)
class Choice:
    """A tile, into how many parts the terms are split, and how many slabs of `tile_k` terms a part has at most."""

    tile: Tile
    parts: int
    slabs: int

    def grid(self, product: Product) -> tuple[int, int]:
        """Blocks: tiles, parts."""
        return _tiles(product, self.tile), self.parts


@functools.lru_cache(maxsize=4096)
def choose(product: Product, tiles: tuple[Tile, ...], multiprocessors: Multiprocessors, split: bool = True) -> Choice:
    """The tile and the number of parts that `cycles` finds fastest; the first tile and the fewer parts in a draw."""
    usable = [tile.on(multiprocessors) for tile in tiles if tile.oldest <= multiprocessors.capability]
    possible = [Choice(tile, *shares) for tile in usable for shares in _splits(product, tile, split)]
    return min(possible, key=lambda choice: cycles(product, choice, multiprocessors))


def _splits(product: Product, tile: Tile, split: bool) -> list[tuple[int, int]]:
    """Possible (parts, slabs of a part): no part is empty, and every part but the last is as large as the others."""
    slabs = max(1, -(-product.terms // tile.tile_k))
    most = min(slabs, most_parts(product.results)) if split else 1
    sizes = {-(-slabs // parts) for parts in range(1, most + 1)}
    return [(-(-slabs // size), size) for size in sorted(sizes, reverse=True)]


def cycles(product: Product, choice: Choice, multiprocessors: Multiprocessors) -> float:
    """About how many clock cycles the product takes.

    A multiprocessor issues 4 warp instructions a cycle, so a slab costs its blocks what they issue: multiply-adds,
    loads from shared memory, fetching, 80 for the loop and its barrier. Few warps leave gaps (1 to a scheduler about
    30 %, 4 about 9 %), and no slab is faster than the next one arrives from memory (500 cycles). Blocks run in waves.
    A block begins and ends in about 2000 cycles; parts cost a launch (3000) and their way to the L2 cache and back (12
    bytes a cycle and multiprocessor).
    """
    tile, blocks = choice.tile, _tiles(product, choice.tile) * choice.parts
    warps = tile.threads / 32
    multiply = tile.tile_k * (tile.thread_m * tile.thread_n + (tile.thread_m + tile.thread_n) / 4)
    fetch = tile.tile_k * (tile.tile_m * product.left_cost + tile.tile_n * product.right_cost) / tile.threads
    issued = warps * (multiply + fetch + 80) / 4

    def wave(resident: int) -> float:
        scheduler = resident * warps / 4
        return 2000 + choice.slabs * max(500.0, resident * issued * (scheduler + 0.4) / scheduler)

    waves, rest = divmod(blocks, multiprocessors.number * tile.resident)
    total = waves * wave(tile.resident) + (wave(-(-rest // multiprocessors.number)) if rest else 0)
    if choice.parts > 1:
        total += 3000 + 8 * product.results * choice.parts / (12 * multiprocessors.number)
    return total


def _tiles(product: Product, tile: Tile) -> int:
    return -(-product.rows // tile.tile_m) * -(-product.columns // tile.tile_n) * product.number


def most_parts(results: int) -> int:
    """Into how many parts the sums of so many results may be split."""
    return max(1, min(MOST_PARTS, PARTS // max(1, results)))


def parts_count(results: int) -> int:
    """Elements of workspace that the parts of so many results may take, on whatever GPU."""
    parts = most_parts(results)
    return parts * results if parts > 1 else 0


def multiprocessors() -> Multiprocessors:
    """Of the running GPU; an H200's in CPU mode."""
    running = device.current()
    if isinstance(running, device.Cpu):
        return H200
    return Multiprocessors(running.multiprocessors, running.max_shared_bytes, running.compute_capability)


def tiles(*vectors: int) -> tuple[Tile, ...]:
    """The usual ones, for operands of which so many elements are fetched at once."""
    large = (LARGE, FLAT) if set(vectors) == {4} else (LONG,)
    return *large, MIDDLE, NARROW, SMALL


def cost(vector: int) -> float:
    """Instructions that fetching one element of a matrix takes, of so many fetched at once."""
    return 1.5 if vector == 4 else 3.0


def vector(*sizes: int) -> int:
    """How many floats can be read or written at once where rows begin at multiples of these sizes: 4 or 1."""
    return 4 if all(size % 4 == 0 for size in sizes) else 1


@dataclass(frozen=True)
class Work:
    """What a launch has to do at least: floating-point operations, and floats read and written, once each."""

    flops: int
    floats: int

    @property
    def bytes(self) -> int:
        """Read and written."""
        return 4 * self.floats


@dataclass(frozen=True)
class Step:
    """One launch and its work."""

    launch: Launch
    work: Work


@dataclass(frozen=True)
class Steps:
    """A plan for caffepy.kernels that can also tell the work of what it launches."""

    of: Callable[..., Iterable[Step]]

    def __call__(self, *args: Any, **constants: Any) -> list[Launch]:
        return [step.launch for step in self.of(*args, **constants)]

    def work(self, *args: Any, **constants: Any) -> list[Work]:
        """For each launch; arrays need only their `size` and `shape`."""
        return [step.work for step in self.of(*args, **constants)]


def per_element(
    entry: str, count: int, arguments: Sequence[Argument], constants: Mapping[str, Any], work: Work
) -> Step:
    """A launch of one thread per element of what is written, `count` of them, which goes first."""
    launch = Launch(entry, (-(-count // THREADS),), (THREADS,), (count, *arguments), constants)
    return Step(launch, work)
