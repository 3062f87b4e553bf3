"""Launches of kernels/vision/depthwise.cu: convolution with one channel to a group and few outputs."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from caffepy.kernels import THREADS, Launch
from caffepy.layers.basis import gemm_plan
from caffepy.layers.basis.gemm_plan import Argument, Step, Work, per_element
from caffepy.layers.vision.convolution_shapes import Call

FILE = "depthwise.cu"

STRIP = 4
"""Elements of a thread, one below the other: they have most of what they see in common."""
SMALL = 25
"""Taps of a window whose loops are written out, for strips."""
WIDEST = 32
"""Columns of a block at most."""
FEW = 128
"""Threads of a block, if a plane and its width do not ask for more: blocks of small planes are to fill a device."""
STAGED = 48 << 10
"""Bytes of shared memory that any GPU gives a block."""
TAPS_TOGETHER = 16
"""Taps whose weights a block of depthwise_backward_weights computes at most."""


@dataclass(frozen=True)
class Blocks:
    """How a pass is divided: blocks along planes, rows and columns; threads along columns, strips and planes."""

    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared_bytes: int


@dataclass(frozen=True)
class Forward:
    """What is launched forward: a kernel of a file, the arguments for its sums and the constants they need."""

    file: str
    entry: str
    given: tuple[str, ...]
    constants: dict[str, float]


def forward(call: Call, work: Work, kernel: Forward) -> Step:
    """Each position by the taps that it sees."""
    taken: tuple[Argument, ...] = ("bottom_data", "weight_data", *kernel.given, "top_data", *_sizes(call))
    (reach_h, reach_w), (stride_h, stride_w) = _reach(call), call.pair("stride", 1)

    def seen(rows: int, columns: int) -> int:
        return ((rows - 1) * stride_h + reach_h + 1) * ((columns - 1) * stride_w + reach_w + 1)

    planes, (height, width) = call.num * call.outputs, (1, *call.positions)[-2:]
    blocks = divided(planes, height, width, _strip(call), seen)
    constants = _constants(call) | kernel.constants
    if blocks is None:
        return _apart(f"{kernel.entry}_apart", call.results, taken, constants, work, kernel.file)
    launch = Launch(kernel.entry, blocks.grid, blocks.block, (planes, *taken), constants)
    return _staged(launch, blocks, work, kernel.file)


def backward(call: Call, work: Work) -> Step:
    """Each pixel by the positions that see it."""
    taken: tuple[Argument, ...] = ("top_diff", "weight_data", "bottom_diff", *_sizes(call))
    (reach_h, reach_w), (stride_h, stride_w) = _reach(call), call.pair("stride", 1)

    def seen(rows: int, columns: int) -> int:
        return ((rows + reach_h + stride_h - 2) // stride_h + 1) * ((columns + reach_w + stride_w - 2) // stride_w + 1)

    planes, (height, width) = call.num * call.channels, (1, *call.extent)[-2:]
    blocks = divided(planes, height, width, _strip(call), seen)
    constants = _constants(call)
    if blocks is None:
        return _apart("depthwise_backward_apart", call.pixels, taken, constants, work)
    launch = Launch("depthwise_backward", blocks.grid, blocks.block, (planes, *taken), constants)
    return _staged(launch, blocks, work)


def backward_weights(call: Call, work: Work) -> Iterator[Step]:
    """Split where outputs are too few to fill the device, into parts of at least four positions to a thread."""
    blocks = call.outputs * -(-math.prod(call.window.kernel) // TAPS_TOGETHER)
    positions, count, constants = call.num * math.prod(call.positions), call.weights, _constants(call)
    wanted = -(-8 * gemm_plan.multiprocessors().number // blocks)
    parts = max(1, min(wanted, positions // (4 * THREADS), gemm_plan.most_parts(count)))
    share = -(-positions // parts)
    parts = -(-positions // share)
    arguments: tuple[Argument, ...] = (
        "bottom_data",
        "top_diff",
        "workspace",
        "weight_diff",
        call.num,
        *_sizes(call),
        share,
        0,
        count,
    )
    entry = "depthwise_backward_weights"
    yield Step(Launch(entry, (blocks, parts), (THREADS,), arguments, constants, file=FILE), work)
    if parts > 1:
        added, summands = Work(parts * count, (parts + 1) * count), ("workspace", "weight_diff", parts, 0, count)
        yield _apart(f"{entry}_sum", count, summands, constants, added)


def divided(planes: int, height: int, width: int, strip: int, seen: Callable[[int, int], int]) -> Blocks | None:
    """Blocks for planes of that size, None where shared memory does not hold what the smallest block sees.

    seen(rows, columns)   values of a plane that so many elements see together
    """
    columns = -(-width // -(-width // WIDEST))
    strips = -(-height // strip)
    tall = -(-strips // -(-strips // max(1, THREADS // columns)))
    while tall > 1 and 4 * seen(tall * strip, columns) > STAGED:
        tall = -(-tall // 2)
    each = 4 * seen(tall * strip, columns)
    if each > STAGED:
        return None
    tiles = -(-strips // tall), -(-width // columns)
    wanted = -(-planes * math.prod(tiles) // (2 * gemm_plan.multiprocessors().number))
    deep = max(1, min(wanted, FEW // (columns * tall), STAGED // each, planes, 64))
    return Blocks((-(-planes // deep), *tiles), (columns, tall, deep), deep * each)


def _staged(launch: Launch, blocks: Blocks, work: Work, file: str = FILE) -> Step:
    return Step(replace(launch, shared_bytes=blocks.shared_bytes, file=file), work)


def _apart(
    entry: str,
    count: int,
    arguments: tuple[Argument, ...],
    constants: dict[str, int | float | bool],
    work: Work,
    file: str = FILE,
) -> Step:
    step = per_element(entry, count, arguments, constants, work)
    return replace(step, launch=replace(step.launch, file=file))


def _strip(call: Call) -> int:
    return STRIP if math.prod(call.pair("kernel", 1)) <= SMALL else 1


def _reach(call: Call) -> tuple[int, int]:
    """How many rows and columns a window reaches beyond its first."""
    kernels, dilations = call.pair("kernel", 1), call.pair("dilation", 1)
    reach_h, reach_w = ((kernel - 1) * dilation for kernel, dilation in zip(kernels, dilations, strict=True))
    return reach_h, reach_w


def _constants(call: Call) -> dict[str, int | float | bool]:
    return {**call.window_constants, "strip": _strip(call), "negative_slope": 1.0}


def _sizes(call: Call) -> tuple[int, ...]:
    return call.channels, *(1, *call.extent)[-2:], call.outputs, *(1, *call.positions)[-2:]
