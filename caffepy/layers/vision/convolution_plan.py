"""Convolution's launches: products on the images as they are, with the window applied while operands are fetched.

Roads, for each of the three passes:

    window       the general one, for two spatial axes; one axis is two, the first of length 1
    pointwise    a 1x1 window of stride 1 without pad: operands are matrices in memory, all axes are one
    depthwise    one channel to a group, few outputs: no product but sums per element, see depthwise_plan
    more axes    image by image, axes but the last two are unfolded into the workspace (unfold.cuh); that leaves
                 images of two axes with more channels, which take the first road

The workspace holds, one after the other, what is unfolded and the parts of split sums.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, field, replace
from typing import Any

from caffepy.blob import Shape
from caffepy.kernels import Launch
from caffepy.layers.basis import gemm_plan
from caffepy.layers.basis.gemm_plan import Argument, Product, Step, Steps, Tile, Work, parts_count, per_element, vector
from caffepy.layers.vision import depthwise_plan
from caffepy.layers.vision.convolution_shapes import Call, Images
from caffepy.layers.vision.window import Window

CELL_TILES = gemm_plan.MIDDLE, gemm_plan.LOW
CELL_ROWS = 64
"""Channels times pixels of a cell up to which kernels/vision/convolution_backward.cu may take all phases together."""

_THROUGH_WINDOW, _OF_CELL = 8.0, 5.0  # gemm_plan.Product's costs of an element


@dataclass(frozen=True)
class Way:
    """A way to compute a pass: the product it makes, and what its kernel is compiled for."""

    product: Product
    tiles: tuple[Tile, ...]
    vectors: tuple[int, int, int]
    """Elements read at once of the left and the right operand, and written."""
    constants: dict[str, int | bool] = field(default_factory=dict)


def forward_steps(
    bottom_data: Any,
    weight_data: Any,
    bias_data: Any,
    workspace: Any,
    top_data: Any,
    *,
    window: Window,
    group: int,
    negative_slope: float = 1.0,
) -> Iterator[Step]:
    """What convolution_forward launches; negative_slope changes nothing but the kernel."""
    call = Call.of(bottom_data, weight_data, top_data, window, group)
    way = depthwise_plan.Forward(
        "depthwise.cu", "depthwise_forward", ("bias_data",), {"negative_slope": negative_slope}
    )
    yield from _forward(call, weight_data, "convolution_forward", ("bias_data",), way)


def normalized_steps(
    bottom_data: Any,
    weight_data: Any,
    bias_data: Any,
    mean_sum: Any,
    variance_sum: Any,
    weight_sum: Any,
    mean: Any,
    variance: Any,
    scale_data: Any,
    shift_data: Any,
    kept: Any,
    workspace: Any,
    top_data: Any,
    *,
    window: Window,
    group: int,
    eps: float,
    negative_slope: float = 1.0,
) -> Iterator[Step]:
    """What convolution_normalized launches."""
    call = Call.of(bottom_data, weight_data, top_data, window, group)
    given = (
        "bias_data",
        "mean_sum",
        "variance_sum",
        "weight_sum",
        "mean",
        "variance",
        "scale_data",
        "shift_data",
        "kept",
    )
    constants = {"negative_slope": negative_slope, "eps": eps}
    way = depthwise_plan.Forward("depthwise_normalized.cu", "depthwise_normalized", given, constants)
    more = (7 * call.outputs + (0 if kept is None else call.results)) // (call.num if call.unfoldings else 1)
    steps = list(_forward(call, weight_data, "convolution_normalized", given, way))
    for step, after in itertools.zip_longest(steps, steps[1:]):
        unfolds = step.launch.entry.startswith("unfold")
        splits = after is not None and after.launch.entry.endswith("_sum")
        floats = step.work.floats + (0 if unfolds or splits else more)
        yield replace(step, work=replace(step.work, floats=floats))


def _forward(
    call: Call, weight_data: Any, entry: str, given: tuple[str, ...], depthwise: depthwise_plan.Forward
) -> Iterator[Step]:
    """A forward product, to whose sums the arguments `given` are applied."""
    if not call.results:
        return
    if call.depthwise:
        yield depthwise_plan.forward(call, _work(call), depthwise)
        return
    stored = gemm_plan.stored(weight_data)
    for n, images in call.images():
        yield from _unfold(call, n)
        terms = images.channels * math.prod(call.pair("kernel", 1))
        left, right = vector(terms), images.bottom_vector if call.pointwise else 1
        product = Product(images.outputs, images.num * images.positions, terms, call.group, *_costs(call, left, right))
        way = Way(product, gemm_plan.tiles(left), (left, right, images.top_vector))
        own: tuple[Argument, ...] = ("workspace", "top_data", *astuple(images))
        arguments: tuple[Argument, ...] = ("bottom_data", "weight_data", *given, *own)
        places: tuple[Argument, ...] = (call.outputs, images.top_channel, images.top_first)
        summands = *given, "workspace", "top_data", *places
        yield from _multiply(entry, call, [way], arguments, summands, product.results, stored)


def backward_steps(
    top_diff: Any, weight_data: Any, workspace: Any, bottom_diff: Any, *, window: Window, group: int
) -> Iterator[Step]:
    """What convolution_backward launches."""
    call = Call.of(bottom_diff, weight_data, top_diff, window, group)
    if not call.pixels:
        return
    if call.depthwise:
        yield depthwise_plan.backward(call, _work(call))
        return
    for n, images in call.images():
        arguments: tuple[Argument, ...] = ("top_diff", "weight_data", "workspace", "bottom_diff", *astuple(images))
        summands = "workspace", "bottom_diff", images.bottom_first
        results = images.num * images.channels * group * images.height * images.width
        ways = [_phases(call, images), *_cells(call, images)]
        stored = gemm_plan.stored(weight_data)
        yield from _multiply("convolution_backward", call, ways, arguments, summands, results, stored)
        yield from _fold(call, n)


def backward_weights_steps(
    bottom_data: Any, top_diff: Any, workspace: Any, weight_diff: Any, *, window: Window, group: int
) -> Iterator[Step]:
    """What convolution_backward_weights launches."""
    call = Call.of(bottom_data, weight_diff, top_diff, window, group)
    if not call.results:
        return
    if call.depthwise:
        yield from depthwise_plan.backward_weights(call, _work(call))
        return
    for n, images in call.images():
        yield from _unfold(call, n)
        columns = images.channels * math.prod(call.pair("kernel", 1))
        left, right = images.top_vector, images.bottom_vector if call.pointwise else 1
        terms = images.num * images.positions
        product = Product(images.outputs, columns, terms, group, *_costs(call, left, right))
        narrow = (gemm_plan.NARROW,) if left == 4 else (gemm_plan.NARROW.since(90), gemm_plan.SHALLOW)
        tensor = gemm_plan.on_request(*gemm_plan.TENSOR_TILES)
        tiles = gemm_plan.LONG, gemm_plan.MIDDLE, *narrow, gemm_plan.SMALL, *tensor
        way = Way(product, tiles, (left, right, vector(columns)))
        arguments: tuple[Argument, ...] = ("bottom_data", "top_diff", "workspace", "weight_diff", *astuple(images))
        summands = "workspace", "weight_diff"
        yield from _multiply("convolution_backward_weights", call, [way], arguments, summands, product.results)


forward, normalized = Steps(forward_steps), Steps(normalized_steps)
backward, backward_weights = Steps(backward_steps), Steps(backward_weights_steps)


def workspace_count(num: int, extent: Shape, weight_shape: Shape, window: Window, group: int) -> int:
    """Elements of workspace that the three passes need on any GPU."""
    positions, channels = window.positions(extent), weight_shape[1] * group
    call = Call(num, channels, tuple(extent), weight_shape[0], positions, window, group)
    if not num:
        return 0
    unfoldings = call.unfoldings
    results, pixels = call.results, call.pixels
    if unfoldings:
        results, pixels = results // num, unfoldings[-1].unfolded_count
    return call.stages[-1] + max(map(parts_count, (results, pixels, call.weights)))


def _phases(call: Call, images: Images) -> Way:
    """Each phase of each group a product, with the taps that the phase has at most."""
    phases, pixels, taps = 1, images.num, 1
    sizes = call.pair("kernel", 1), call.pair("stride", 1), call.pair("dilation", 1)
    for extent, kernel, stride, dilation in zip((images.height, images.width), *sizes, strict=True):
        phases, pixels = phases * stride, pixels * -(-extent // stride)
        taps *= -(-kernel * math.gcd(stride, dilation) // stride)
    left, right = (vector(images.channels), images.top_vector) if call.pointwise else (1, 1)
    costs = _costs(call, left, right)
    product = Product(images.channels, pixels, images.outputs * taps, call.group * phases, *costs)
    store = images.bottom_vector if phases == 1 else 1
    large: tuple[Tile, ...] = gemm_plan.FLAT.since(100), gemm_plan.LONG
    if call.pointwise:
        large = (gemm_plan.FLAT,) if left == 4 else (gemm_plan.LONG,)
    small = (gemm_plan.SMALL,) if phases == 1 else (gemm_plan.SMALL.until(90), gemm_plan.SMALL_8.since(100))
    usual = *large, gemm_plan.MIDDLE, gemm_plan.NARROW, *small, gemm_plan.THIN
    tiles = *usual, *gemm_plan.on_request(gemm_plan.TENSOR_LARGE, *gemm_plan.TENSOR_TILES)
    return Way(product, tiles, (left, right, store), {"by_phase": True})


def _cells(call: Call, images: Images) -> list[Way]:
    """The pixels of a cell as further rows, where that is possible and leaves few rows."""
    stride, (pad_h, pad_w) = call.pair("stride", 1), call.pair("pad", 0)
    rows = images.channels * math.prod(stride)
    if stride == (1, 1) or call.pair("dilation", 1) != (1, 1) or rows > CELL_ROWS:
        return []
    cells, distances = images.num, 1
    axes = zip((images.height, images.width), call.pair("kernel", 1), stride, (pad_h, pad_w), strict=True)
    for extent, kernel, step, pad in axes:
        cells *= (extent - 1 + pad) // step - pad // step + 1
        distances *= -(-kernel // step)
    product = Product(rows, cells, images.outputs * distances, call.group, _OF_CELL, _THROUGH_WINDOW)
    tiles = *CELL_TILES, *gemm_plan.on_request(gemm_plan.TENSOR_LOW)
    return [Way(product, tiles, (1, 1, 1), {"by_phase": False})]


def _multiply(
    entry: str,
    call: Call,
    ways: Sequence[Way],
    arguments: tuple[Argument, ...],
    summands: tuple[Argument, ...],
    results: int,
    stored: int = 0,
) -> Iterator[Step]:
    """The fastest way's product, and where it is split the sum of its parts; `results` elements are written."""
    work = _work(call, stored)
    number, choice = gemm_plan.pick(f"{entry}.cu", call, tuple((way.product, way.tiles) for way in ways))
    way = ways[number]
    constants = _constants(call, choice.tile, way.vectors) | way.constants | {"weight_format": stored}
    parts = call.stages[-1]
    launch = Launch(
        entry,
        choice.grid(way.product),
        (choice.tile.threads,),
        (*arguments, choice.slabs, parts, results),
        constants,
    )
    if choice.parts == 1:
        yield Step(launch, work)
        return
    yield Step(launch, replace(work, floats=work.floats + (choice.parts - 1) * results))
    added = Work(choice.parts * results, (choice.parts + 1) * results)
    yield per_element(f"{entry}_sum", results, (*summands, choice.parts, parts, results), constants, added)


def _work(call: Call, stored: int = 0) -> Work:
    """Of one of a call's images: each position meets each weight of its group once."""
    images = call.num if call.unfoldings else 1
    flops = 2 * math.prod(call.positions) * call.num * call.weights
    values, weights = (call.pixels + call.results) // images, call.weights
    return Work(flops // images, values, weights) if stored else Work(flops // images, values + weights)


def _costs(call: Call, left: int, right: int) -> tuple[float, float]:
    return gemm_plan.cost(left), gemm_plan.cost(right) if call.pointwise else _THROUGH_WINDOW


def _constants(
    call: Call, tile: Tile = gemm_plan.SMALL, vectors: tuple[int, int, int] = (1, 1, 1)
) -> dict[str, int | bool]:
    """Of kernels/vision/convolution.cuh."""
    constants: dict[str, int | bool] = {**tile.constants, **call.window_constants}
    left, right, store = vectors
    constants |= {"left_vector": left, "right_vector": right, "store_vector": min(store, tile.thread_n)}
    return constants | {
        "pointwise": call.pointwise,
        "unfolded": bool(call.unfoldings),
        "by_phase": True,
        "weight_format": 0,
    }


def _unfold(call: Call, n: int) -> Iterator[Step]:
    for i, axis in enumerate(call.unfoldings):
        source = call.stages[i - 1] if i else n * axis.folded_count
        arguments: tuple[Argument, ...] = (
            "bottom_data",
            "workspace",
            int(i > 0),
            source,
            call.stages[i],
            *axis.arguments,
        )
        work = Work(0, axis.folded_count + axis.unfolded_count)
        yield per_element("unfold", axis.unfolded_count, arguments, _constants(call), work)


def _fold(call: Call, n: int) -> Iterator[Step]:
    for i, axis in reversed(list(enumerate(call.unfoldings))):
        target = call.stages[i - 1] if i else n * axis.folded_count
        arguments: tuple[Argument, ...] = (
            "workspace",
            "bottom_diff",
            int(i > 0),
            call.stages[i],
            target,
            *axis.arguments,
        )
        work = Work(axis.unfolded_count, axis.folded_count + axis.unfolded_count)
        yield per_element("fold", axis.folded_count, arguments, _constants(call), work)
