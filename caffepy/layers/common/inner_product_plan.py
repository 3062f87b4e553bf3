"""InnerProduct's launches: with few vectors the weights are streamed once, with more it is a product by tiles."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from caffepy.kernels import Launch
from caffepy.layers.basis import gemm_plan
from caffepy.layers.basis.gemm_plan import Argument, Product, Step, Steps, Work, parts_count, per_element, vector

FEW = 8
"""Vectors up to which streaming takes no longer than reading the weights: 2 * 8 operations for each 4 bytes are less
than a GPU does in the time."""
STREAM = 128
"""Threads of a block that streams, as in inner_product.cuh; and of STREAM_TILE, whose constants it is given."""
STREAM_TILE = gemm_plan.MIDDLE
BLOCKS = 4
"""Streaming blocks for each multiprocessor: 512 threads with some 16-byte loads each keep its share of memory busy."""
SUMS = 32
"""Sums of a thread at most, as registers allow."""
ADDED_ROWS = 16
"""Rows of weight diffs that a block adds to: what it keeps of the vectors is used so often."""


@dataclass(frozen=True)
class Call:
    """`num` vectors of `terms` elements, the columns that each is multiplied to, and how the weights lie."""

    num: int
    terms: int
    columns: int
    by_rows: bool
    stored: int = 0
    """What the weights lie in memory as, see gemm_plan.stored."""

    @property
    def few(self) -> int:
        """How many vectors are computed together in a stream, a power of two; 0 for tiles."""
        return next((n for n in (1, 2, 4, 8) if n >= self.num), 0) if self.num <= FEW else 0

    @property
    def work(self) -> Work:
        """Of the whole."""
        weights, values = self.terms * self.columns, self.num * (self.terms + self.columns)
        flops = 2 * self.num * weights
        return Work(flops, values, weights) if self.stored else Work(flops, values + weights)


def forward_steps(
    bottom_data: Any,
    weight_data: Any,
    bias_data: Any,
    workspace: Any,
    top_data: Any,
    *,
    transpose: bool,
    negative_slope: float = 1.0,
) -> Iterator[Step]:
    """What inner_product_forward launches; negative_slope changes nothing but the kernel."""
    inputs, outputs = _sizes(weight_data, transpose)
    call = Call(top_data.size // max(1, outputs), inputs, outputs, not transpose, gemm_plan.stored(weight_data))
    arguments = "bottom_data", "weight_data", "bias_data", "workspace", "top_data"
    summands = "bias_data", "workspace", "top_data", outputs
    yield from _multiply("inner_product_forward", call, (*arguments, call.num, inputs, outputs), summands)


def backward_steps(
    top_diff: Any, weight_data: Any, workspace: Any, bottom_diff: Any, *, transpose: bool
) -> Iterator[Step]:
    """What inner_product_backward launches."""
    inputs, outputs = _sizes(weight_data, transpose)
    call = Call(bottom_diff.size // max(1, inputs), outputs, inputs, transpose, gemm_plan.stored(weight_data))
    arguments = "top_diff", "weight_data", "workspace", "bottom_diff"
    summands = "workspace", "bottom_diff"
    yield from _multiply("inner_product_backward", call, (*arguments, call.num, inputs, outputs), summands)


def backward_weights_steps(
    bottom_data: Any, top_diff: Any, workspace: Any, weight_diff: Any, *, transpose: bool
) -> Iterator[Step]:
    """What inner_product_backward_weights launches."""
    rows, columns = weight_diff.shape
    num = bottom_data.size // max(1, columns if not transpose else rows)
    if not weight_diff.size or not num:
        return
    call = Call(num, rows, columns, by_rows=False)
    work = Work(call.work.flops, call.work.floats + weight_diff.size)
    arguments = "bottom_data", "top_diff", "weight_diff", num, rows, columns
    if call.few:
        across = vector(columns)
        blocks = -(-columns // (STREAM * across)) * -(-rows // ADDED_ROWS)
        constants = _constants(STREAM_TILE, call.few, ADDED_ROWS, (1, across, 1))
        launch = Launch("inner_product_backward_weights", (blocks,), (STREAM,), (*arguments, 0), constants)
    else:
        vectors = vector(rows), vector(columns), vector(columns)
        product = Product(rows, columns, num, 1, *(gemm_plan.cost(v) for v in vectors[:2]))
        ways = ((product, gemm_plan.tiles(*vectors[:2])),)
        _, choice = gemm_plan.pick("inner_product_backward_weights.cu", call, ways, split=False)
        constants = _constants(choice.tile, 0, 1, vectors)
        threads, grid = choice.tile.threads, choice.grid(product)
        launch = Launch("inner_product_backward_weights", grid, (threads,), (*arguments, choice.slabs), constants)
    yield Step(launch, work)


def backward_bias_steps(top_diff: Any, bias_diff: Any) -> Iterator[Step]:
    """What inner_product_backward_bias launches."""
    outputs = bias_diff.size
    arguments = "top_diff", top_diff.size // max(1, outputs), outputs, "bias_diff"
    work = Work(top_diff.size, top_diff.size + 2 * outputs)
    if outputs:
        yield Step(Launch("inner_product_backward_bias", (-(-outputs // 32),), (32, 8), arguments), work)


forward, backward = Steps(forward_steps), Steps(backward_steps)
backward_weights, backward_bias = Steps(backward_weights_steps), Steps(backward_bias_steps)


def workspace_count(num: int, inputs: int, outputs: int) -> int:
    """Elements of workspace that forward and backward need on any GPU."""
    return max(parts_count(num * inputs), parts_count(num * outputs))


def _sizes(weight: Any, transpose: bool) -> tuple[int, int]:
    """(inputs, outputs)"""
    rows, columns = weight.shape
    return (rows, columns) if transpose else (columns, rows)


def _multiply(
    entry: str, call: Call, arguments: tuple[Argument, ...], summands: tuple[Argument, ...]
) -> Iterator[Step]:
    """The vectors times the weights, and where the terms are split the sum of the parts."""
    results = call.num * call.columns
    if not results:
        return
    grid, share, threads, constants = _stream(call) if call.few else _tiles(f"{entry}.cu", call)
    constants["weight_format"] = call.stored
    launch = Launch(entry, grid, (threads,), (*arguments, share, results), constants)
    parts = grid[1]
    yield Step(launch, replace(call.work, floats=call.work.floats + (parts - 1) * results))
    if parts > 1:
        added = Work(parts * results, (parts + 1) * results)
        yield per_element(f"{entry}_sum", results, (*summands, parts), constants, added)


def _stream(call: Call) -> tuple[tuple[int, int], int, int, dict[str, Any]]:
    """Grid, terms of a block, threads and constants. The fewer blocks, the less often the vectors are read."""
    wanted = BLOCKS * gemm_plan.multiprocessors().number
    if call.by_rows:
        most = SUMS // call.few if call.few > 2 else 4
        rows = next((r for r in (8, 4, 2) if r <= most and call.columns >= r * wanted), 1)
        constants = _constants(STREAM_TILE, call.few, rows, (1, vector(call.terms), 1))
        return (-(-call.columns // rows), 1), call.terms, STREAM, constants
    across = vector(call.columns)
    blocks = -(-call.columns // (STREAM * across))
    parts = min(gemm_plan.most_parts(call.num * call.columns), -(-wanted // blocks), max(1, call.terms // 8))
    share = max(1, -(-call.terms // parts))
    constants = _constants(STREAM_TILE, call.few, 1, (1, across, 1))
    return (blocks, max(1, -(-call.terms // share))), share, STREAM, constants


def _tiles(file: str, call: Call) -> tuple[tuple[int, int], int, int, dict[str, Any]]:
    vectors = vector(call.terms), vector(call.terms if call.by_rows else call.columns), vector(call.columns)
    costs = (gemm_plan.cost(v) for v in vectors[:2])
    product = Product(call.num, call.columns, call.terms, 1, *costs)
    _, choice = gemm_plan.pick(file, call, ((product, gemm_plan.tiles(*vectors[:2])),))
    return choice.grid(product), choice.slabs, choice.tile.threads, _constants(choice.tile, 0, 1, vectors)


def _constants(tile: gemm_plan.Tile, few: int, rows: int, vectors: tuple[int, int, int]) -> dict[str, Any]:
    """Of kernels/common/inner_product.cuh."""
    left, right, store = vectors
    own = {
        "few": few,
        "block_rows": rows,
        "left_vector": left,
        "right_vector": right,
        "store_vector": store,
        "weight_format": 0,
    }
    return tile.constants | own
