"""Inner products: plain weights for few vectors, whose time is reading them once, packed ones for more."""

from caffepy.blob import Floats
from caffepy.cpu import arguments as a
from caffepy.cpu.build import Builder
from caffepy.cpu.record import Operation
from caffepy.cpu.sums import Sum
from caffepy.cpu.table import translates
from caffepy.device.onednn.handles import (
    Attributes,
    Layout,
    Memory,
    Primitive,
    chosen,
    contiguous,
    library,
    strided,
)
from caffepy.device.onednn.product import Product

MANY = 4
"""Vectors from which on packed weights are faster."""


def _sizes(weight: Floats, operation: Operation, vectors: Floats) -> tuple[int, int, int]:
    """Vectors, outputs, inputs; `vectors` is the array of inputs."""
    rows, columns = weight.shape
    outputs, inputs = (columns, rows) if operation.constants["transpose"] else (rows, columns)
    return vectors.size // inputs, outputs, inputs


def _weights(b: Builder, weight: Floats, primitive: Primitive, transpose: bool) -> Memory:
    layout = primitive.layout(a.ASK_WEIGHTS)
    if transpose or layout is None or layout.plain:
        memory = b.read(weight, contiguous(weight.shape))
        return memory if layout is None else memory.viewed(layout)
    return b.read(weight, layout)


def _asked(num: int, outputs: int, inputs: int, transpose: bool) -> Layout:
    if transpose:
        return strided((outputs, inputs), (1, outputs))
    return chosen((outputs, inputs)) if num >= MANY else contiguous((outputs, inputs))


def _forward(
    num: int, outputs: int, inputs: int, weights: Layout, bias: Layout | None, slope: float | None
) -> Primitive:
    return Primitive(
        "inner_product_forward",
        library().engine,
        a.TRAINING,
        contiguous((num, inputs)),
        weights,
        bias,
        contiguous((num, outputs)),
        Attributes(slope=slope),
    )


@translates("inner_product_forward")
def inner_product_forward(b: Builder, operation: Operation) -> None:
    """Also a ReLU in place that follows."""
    vectors, weight, bias, top = (operation[n] for n in ("bottom_data", "weight_data", "bias_data", "top_data"))
    transpose = operation.constants["transpose"]
    num, outputs, inputs = _sizes(weight, operation, vectors)
    slope = b.following_slope(top)
    biases = None if bias is None else contiguous((outputs,))
    primitive = _forward(num, outputs, inputs, _asked(num, outputs, inputs, transpose), biases, slope)
    source = b.read(vectors, contiguous(vectors.shape)).viewed(contiguous((num, inputs)))
    memories = {a.SRC: source, a.WEIGHTS: _weights(b, weight, primitive, transpose)}
    memories |= {} if biases is None else {a.BIAS: b.read(bias, biases)}
    target = b.write(top, contiguous(top.shape)).viewed(contiguous((num, outputs)))
    b.add(primitive, {**memories, a.DST: target})


@translates("inner_product_backward")
def inner_product_backward(b: Builder, operation: Operation) -> None:
    """The gradient of the inputs."""
    top_diff, weight, bottom_diff = (operation[n] for n in ("top_diff", "weight_data", "bottom_diff"))
    transpose = operation.constants["transpose"]
    num, outputs, inputs = _sizes(weight, operation, bottom_diff)
    weights = _asked(num, outputs, inputs, transpose)
    primitive = Primitive(
        "inner_product_backward_data",
        library().engine,
        contiguous((num, inputs)),
        weights,
        contiguous((num, outputs)),
        _forward(num, outputs, inputs, weights, None, None),
        Attributes(),
    )
    diff = b.read(top_diff, contiguous(top_diff.shape)).viewed(contiguous((num, outputs)))
    memory = _weights(b, weight, primitive, transpose)
    target = b.write(bottom_diff, contiguous(bottom_diff.shape)).viewed(contiguous((num, inputs)))
    b.add(primitive, {a.DIFF_DST: diff, a.WEIGHTS: memory, a.DIFF_SRC: target})


@translates("inner_product_backward_weights")
def inner_product_backward_weights(b: Builder, operation: Operation) -> None:
    """Added to what stands in the weights' diff: packed like the weights where that is nothing, or packed itself."""
    vectors, top_diff, weight_diff = (operation[n] for n in ("bottom_data", "top_diff", "weight_diff"))
    transpose = operation.constants["transpose"]
    num, outputs, inputs = _sizes(weight_diff, operation, vectors)
    if num >= MANY and not transpose and (b.zeros(weight_diff) or not b.form(weight_diff).plain):
        _packed_weights(b, operation, num, outputs, inputs)
        return
    for array in (vectors, top_diff, weight_diff):
        b.read(array, contiguous(array.shape))
    b.write(weight_diff, contiguous(weight_diff.shape))
    left, right = (vectors, top_diff) if transpose else (top_diff, vectors)
    b.product(Product(b.raw(left), b.raw(right), b.raw(weight_diff), num))


def _packed_weights(b: Builder, operation: Operation, num: int, outputs: int, inputs: int) -> None:
    """Also the bias's diff if it is next."""
    vectors, top_diff, weight_diff = (operation[n] for n in ("bottom_data", "top_diff", "weight_diff"))
    following = b.following("inner_product_backward_bias", top_diff=top_diff)
    bias = None if following is None else contiguous((outputs,))
    weights = chosen((outputs, inputs))
    primitive = Primitive(
        "inner_product_backward_weights",
        library().engine,
        contiguous((num, inputs)),
        weights,
        bias,
        contiguous((num, outputs)),
        _forward(num, outputs, inputs, weights, bias, None),
        Attributes(),
    )
    source = b.read(vectors, contiguous(vectors.shape)).viewed(contiguous((num, inputs)))
    diff = b.read(top_diff, contiguous(top_diff.shape)).viewed(contiguous((num, outputs)))
    product = Sum(b, weight_diff, primitive.layout(a.ASK_DIFF_WEIGHTS) or contiguous((outputs, inputs)))
    sums = None if following is None else Sum(b, following["bias_diff"], contiguous((outputs,)))
    memories: dict[int, Memory | None] = {a.SRC: source, a.DIFF_DST: diff, a.DIFF_WEIGHTS: product.memory}
    b.add(primitive, memories | ({} if sums is None else {a.DIFF_BIAS: sums.memory}))
    product.finish()
    if sums is not None:
        sums.finish()
