"""Matrix products on a GPU: the tiles that kernels/basis/gemm.cuh can be compiled for, and which one suits a product.

A product sums `terms` terms for each of `rows` x `columns` results. A block computes one tile of results. Where there
are too few tiles to fill the device, the terms are split: each part goes to the workspace, and a second kernel adds the
parts in their order, so that the same product gives the same bits every time.
"""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from caffepy import device
from caffepy.kernels import THREADS, Launch, precision, tuning

PARTS = 1 << 22
"""Elements of workspace that the parts of one product take at most: 16 MiB, which stay in a large GPU's L2 cache."""
MOST_PARTS = 64
"""Parts of one product at most; the second kernel's threads add up so many each."""
SPLITS, SLOWER = 3, 3.0
"""What `candidates` takes: how far the estimates are trusted."""


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
    """Constants of kernels/basis/gemm.cuh: a block's results, terms staged at a time, a thread's results."""

    tile_m: int
    tile_n: int
    tile_k: int
    thread_m: int
    thread_n: int
    resident: int
    """Blocks that find registers on one multiprocessor."""
    oldest: int = 75
    """The compute capability from which on they do: for older ones the compiler spills some."""
    newest: int = 999
    """The one up to which they do."""
    tf32: int = 0
    """Instructions of tensor cores for a product: 1, of factors rounded to TF32; 3, of split ones; 0, none."""
    narrow: int = 0
    """What factors are narrowed to for tensor cores: one of FORMATS; 0, nothing."""

    @property
    def threads(self) -> int:
        """Of a block."""
        return self.tile_m // self.thread_m * (self.tile_n // self.thread_n)

    @property
    def shared_bytes(self) -> int:
        """Of a block: two slabs of either operand, two tables of terms, and the 1 KiB that CUDA takes."""
        tensor = self.tf32 or self.narrow
        terms, skew = (self.tile_k // 2 if self.narrow else self.tile_k), 4
        if tensor:
            terms, skew = terms + 1, 8
        return 8 * (terms * (self.tile_m + skew + self.tile_n + skew) + 4 * self.tile_k) + 4 + 1024

    def on(self, multiprocessors: Multiprocessors) -> "Tile":
        """The tile with as many blocks resident as find shared memory, too."""
        return replace(self, resident=min(self.resident, multiprocessors.shared_bytes // self.shared_bytes))

    def since(self, capability: int) -> "Tile":
        """The tile, for GPUs from this one on: where finding the operands takes registers that older ones lack."""
        return replace(self, oldest=capability)

    def until(self, capability: int) -> "Tile":
        """The tile, for GPUs up to this one."""
        return replace(self, newest=capability)

    @property
    def constants(self) -> dict[str, int]:
        """What kernels/basis/gemm.cuh is compiled for."""
        return {name: value for name, value in asdict(self).items() if name not in ("oldest", "newest")}


LARGE = Tile(128, 128, 16, 8, 8, resident=2, oldest=90)
FLAT = Tile(128, 128, 8, 8, 8, resident=2)
LONG = Tile(128, 64, 16, 8, 4, resident=2)
"""For operands that need more registers to be found in memory than the larger tiles leave."""
MIDDLE = Tile(64, 64, 16, 8, 4, resident=4)
NARROW = Tile(64, 32, 16, 8, 4, resident=8)
SHALLOW = Tile(64, 32, 8, 8, 4, resident=8)
"""In place of NARROW where that spills."""
SMALL = Tile(32, 32, 16, 4, 4, resident=10)
SMALL_8 = Tile(32, 32, 16, 4, 4, resident=8)
"""In place of SMALL where that spills."""
LOW = Tile(16, 128, 16, 4, 4, resident=4)
THIN = Tile(4, 128, 16, 4, 1, resident=7)
"""For a product of three or four rows: the diff of a colour image."""

TENSOR_LARGE = Tile(128, 128, 16, 8, 16, resident=2, oldest=80, tf32=1)
TENSOR_FLAT = Tile(128, 128, 8, 8, 8, resident=2, oldest=80, tf32=1)
TENSOR_LONG = Tile(128, 64, 16, 8, 8, resident=2, oldest=80, tf32=1)
TENSOR_MIDDLE = Tile(64, 64, 16, 4, 8, resident=4, oldest=80, tf32=1)
TENSOR_NARROW = Tile(64, 32, 16, 4, 8, resident=6, oldest=80, tf32=1)
TENSOR_LOW = Tile(64, 128, 16, 4, 8, resident=2, oldest=80, tf32=1)
TENSOR_TILES = TENSOR_FLAT, TENSOR_LONG, TENSOR_MIDDLE, TENSOR_NARROW
SPLIT = {
    tile: replace(tile, resident=min(tile.resident, most), tf32=3)
    for tile, most in ((TENSOR_LONG, 2), (TENSOR_MIDDLE, 3), (TENSOR_NARROW, 6), (TENSOR_LOW, 2))
}
"""The same with factors split in two, where that leaves registers enough."""

NARROWING = 4.0
"""Instructions that it takes to narrow a factor and to pack it, beside fetching it."""
FORMATS = {"fp16": 1, "bf16": 2}
"""Numbers of 16 bits, as kernels/basis/numbers.cuh knows them."""

TENSOR_RATE = {80: 512, 90: 640, 100: 640}
"""Multiply-adds a cycle that mma.sync reaches on a multiprocessor in TF32, by compute capability; elsewhere as many as
other instructions reach, 128. Hopper's tensor cores do 1024, but by wgmma alone. With 16 bits it is twice as many."""

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

    @property
    def name(self) -> str:
        """Among other choices for the same product."""
        t = self.tile
        numbers = f"{t.tile_m}x{t.tile_n}x{t.tile_k} by {t.thread_m}x{t.thread_n}"
        rounding = f" in {t.tf32}xtf32" if t.tf32 else f" in 16 bits ({t.narrow})" if t.narrow else ""
        return f"{numbers}{rounding}, {t.resident} resident, {self.parts} parts"


@functools.lru_cache(maxsize=4096)
def choose(product: Product, tiles: tuple[Tile, ...], multiprocessors: Multiprocessors, split: bool = True) -> Choice:
    """The tile and the number of parts that `cycles` finds fastest; the first tile and the fewer parts in a draw."""
    possible = itertools.chain.from_iterable(_possible(product, tiles, multiprocessors, split))
    return min(possible, key=lambda choice: cycles(product, choice, multiprocessors))


def _possible(
    product: Product, tiles: tuple[Tile, ...], multiprocessors: Multiprocessors, split: bool
) -> Iterator[list[Choice]]:
    """For each tile that this GPU may use, its choices."""
    for tile in tiles:
        if tile.oldest <= multiprocessors.capability <= tile.newest:
            fitting = tile.on(multiprocessors)
            yield [Choice(fitting, *shares) for shares in _splits(product, tile, split)]


Ways = tuple[tuple[Product, tuple[Tile, ...]], ...]
"""Products that give the same results, and the tiles that each may be computed with."""


def pick(file: str, problem: object, ways: Ways, *, split: bool = True) -> tuple[int, Choice]:
    """Which of the ways to take, and how: as measured on the running GPU, else by `choose`."""
    room = multiprocessors()

    def by_formula() -> tuple[int, Choice]:
        choices = [(i, choose(product, tiles, room, split)) for i, (product, tiles) in enumerate(ways)]
        return min(choices, key=lambda c: cycles(ways[c[0]][0], c[1], room))

    return tuning.pick(file, (problem, precision.current()), by_formula, lambda: candidates(ways, room, split))


@functools.lru_cache(maxsize=1024)
def candidates(ways: Ways, multiprocessors: Multiprocessors, split: bool) -> dict[str, tuple[int, Choice]]:
    """What is worth measuring, by name: each tile's SPLITS fastest choices, if not SLOWER times slower than the first.

    The first is the fastest of all, as `cycles` estimates.
    """
    found: list[tuple[float, int, Choice]] = []
    for i, (product, tiles) in enumerate(ways):
        for choices in _possible(product, tiles, multiprocessors, split):
            estimated = [(cycles(product, choice, multiprocessors), i, choice) for choice in choices]
            found += sorted(estimated, key=lambda e: e[0])[:SPLITS]
    found.sort(key=lambda e: e[0])
    return {f"way {i}: {choice.name}": (i, choice) for estimate, i, choice in found if estimate < SLOWER * found[0][0]}


def _splits(product: Product, tile: Tile, split: bool) -> list[tuple[int, int]]:
    """Possible (parts, slabs of a part): no part is empty, and every part but the last is as large as the others."""
    slabs = max(1, -(-product.terms // tile.tile_k))
    most = min(slabs, most_parts(product.results)) if split else 1
    sizes = {-(-slabs // parts) for parts in range(1, most + 1)}
    return [(-(-slabs // size), size) for size in sorted(sizes, reverse=True)]


def cycles(product: Product, choice: Choice, multiprocessors: Multiprocessors) -> float:
    """About how many clock cycles the product takes.

    A multiprocessor issues 4 warp instructions a cycle, so a slab costs its blocks what they issue: multiply-adds,
    loads from shared memory, fetching, 80 for the loop and its barrier; tensor cores multiply at a rate of their own.
    Few warps leave gaps (1 to a scheduler about 30 %, 4 about 9 %), and no slab is faster than the next one arrives
    from memory (500 cycles). Blocks run in waves. A block begins and ends in about 2000 cycles; parts cost a launch
    (3000) and their way to the L2 cache and back (12 bytes a cycle and multiprocessor).
    """
    tile, blocks = choice.tile, _tiles(product, choice.tile) * choice.parts
    warps = tile.threads / 32
    multiply = tile.tile_k * _multiply_cost(tile, multiprocessors.capability)
    narrowing = NARROWING if tile.narrow else 0
    costs = product.left_cost + narrowing, product.right_cost + narrowing
    fetch = tile.tile_k * (tile.tile_m * costs[0] + tile.tile_n * costs[1]) / tile.threads
    issued = warps * (multiply + fetch + 80) / 4

    def wave(resident: int) -> float:
        scheduler = resident * warps / 4
        return 2000 + choice.slabs * max(500.0, resident * issued * (scheduler + 0.4) / scheduler)

    waves, rest = divmod(blocks, multiprocessors.number * tile.resident)
    total = waves * wave(tile.resident) + (wave(-(-rest // multiprocessors.number)) if rest else 0)
    if choice.parts > 1:
        total += 3000 + 8 * product.results * choice.parts / (12 * multiprocessors.number)
    return total


def _multiply_cost(tile: Tile, capability: int) -> float:
    """Of a term, for a warp: multiply-adds and loads in cycles of its scheduler."""
    sums = tile.thread_m * tile.thread_n
    if tile.tf32 or tile.narrow:
        # Each warp reads its 8 thread_m rows and 4 thread_n columns, of 128 bytes that shared memory gives a cycle; to
        # split a factor takes two conversions, at half the rate of other instructions, and a subtraction.
        read = tile.thread_m + tile.thread_n / 2
        if tile.narrow:
            return max(sums * 64 / TENSOR_RATE.get(capability, 128), read / 2)
        split = 5 * read / 4 if tile.tf32 == 3 else 0
        return max(sums * tile.tf32 * 128 / TENSOR_RATE.get(capability, 128), read) + split
    return sums + (tile.thread_m + tile.thread_n) / 4


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
    return *large, MIDDLE, NARROW, SMALL, *on_request(TENSOR_LARGE, *TENSOR_TILES)


def on_request(*tensor_tiles: Tile) -> tuple[Tile, ...]:
    """These, as caffepy.kernels.precision asks for them. Raises DeviceError where the running GPU cannot use them."""
    asked = precision.current()
    if asked == "3xtf32":
        return tuple(SPLIT[tile] for tile in tensor_tiles if tile in SPLIT)
    if asked in FORMATS:
        return tuple(replace(tile, tf32=0, narrow=FORMATS[asked]) for tile in tensor_tiles if tile.tile_k % 16 == 0)
    return tensor_tiles if asked == "tf32" else ()


def stored(weights: Any) -> int:
    """What a product's weights lie in memory as: one of FORMATS; 0, floats."""
    return 0 if weights.dtype == np.float32 else FORMATS[precision.current()]


def cost(vector: int) -> float:
    """Instructions that fetching one element of a matrix takes, of so many fetched at once."""
    return 1.5 if vector == 4 else 3.0


def vector(*sizes: int) -> int:
    """How many floats can be read or written at once where rows begin at multiples of these sizes: 4 or 1."""
    return 4 if all(size % 4 == 0 for size in sizes) else 1


@dataclass(frozen=True)
class Work:
    """What a launch has to do at least: floating-point operations, and numbers read and written, once each."""

    flops: int
    floats: int
    halves: int = 0
    """Of 16 bits."""

    @property
    def bytes(self) -> int:
        """Read and written."""
        return 4 * self.floats + 2 * self.halves


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
