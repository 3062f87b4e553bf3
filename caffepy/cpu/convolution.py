"""Convolution and its derivatives; what follows in place and is linear in each channel is folded into the weights."""

from collections.abc import Sequence

from caffepy.cpu import arguments as a
from caffepy.cpu.build import Builder, DeclinedError
from caffepy.cpu.folded_weights import folded
from caffepy.cpu.folding import Fold, following_affine
from caffepy.cpu.geometry import Geometry
from caffepy.cpu.record import Operation
from caffepy.cpu.residual import following_sum, leave_out_top, other_operand
from caffepy.cpu.sums import Sum
from caffepy.cpu.table import translates
from caffepy.cpu.tiles import TAPS, tiles_for
from caffepy.cpu.turned import joined
from caffepy.cpu.winograd import Origin, convolve
from caffepy.device.onednn.handles import Attributes, Layout, Memory, Primitive, chosen, contiguous, library
from caffepy.errors import DeviceError

FEW_CHANNELS = 4
"""Up to which oneDNN is faster with the picture's gradient as NumPy has it: blocks of channels would be mostly pad."""


@translates("convolution_forward")
def convolution_forward(b: Builder, operation: Operation) -> None:
    """Also what follows in place: normalization by known statistics, a scale, a ReLU; or a sum, and its ReLU."""
    image, weight, bias, top = (operation[n] for n in ("bottom_data", "weight_data", "bias_data", "top_data"))
    geometry = Geometry.of(image, weight, top, operation)
    steady = b.constant(weight) and (bias is None or b.constant(bias))
    fold = following_affine(b, operation) if steady else None
    tiles = tiles_for(operation, geometry.source, geometry.target) if steady and b.whole(weight) else None
    vector = None if fold is None and bias is None else contiguous((len(weight),))
    summed = following_sum(b, operation) if tiles is None and _adds(geometry, vector) else None
    total = top if summed is None else summed["top_data"]
    slope = b.following_slope(total)
    if slope is None and operation.constants["negative_slope"] != 1:
        slope = operation.constants["negative_slope"]
    form = None if summed is None else _layout(geometry.forward(vector), a.ASK_DST)
    primitive = geometry.forward(vector, slope, () if form is None else [(a.ADD, form)])
    weights, biases = _layout(primitive, a.ASK_WEIGHTS), None
    if tiles is not None:
        source, target = b.read(image, _layout(primitive, a.ASK_SRC)), b.write(top, _layout(primitive, a.ASK_DST))
        pad = operation.constants["window"].pad
        convolve(b, tiles, pad, source, target, Origin(weight, bias, fold), slope)
    else:
        if fold is not None:
            weight_memory, biases = folded(b, weight, bias, weights, fold)
        else:
            weight_memory = b.read(weight, weights)
            biases = None if bias is None else b.read(bias, contiguous(bias.shape))
        source = b.read(image, _layout(primitive, a.ASK_SRC))
        further = {} if summed is None or form is None else {a.OPERANDS[0]: b.read(other_operand(summed, top), form)}
        target = b.write(total, _layout(primitive, a.ASK_DST))
        b.add(primitive, {a.SRC: source, a.WEIGHTS: weight_memory, a.BIAS: biases, **further, a.DST: target})
    if fold is not None:
        fold.leave_out(b)
    if summed is not None:
        leave_out_top(b, operation, fold)


def _adds(geometry: Geometry, bias: Layout | None) -> bool:
    """Whether the library adds to the product's result, in the layout that it has without."""
    form = _layout(geometry.forward(bias), a.ASK_DST)
    try:
        return _layout(geometry.forward(bias, 0.0, [(a.ADD, form)]), a.ASK_DST).key == form.key
    except DeviceError:
        return False


@translates("convolution_backward")
def convolution_backward(b: Builder, operation: Operation) -> None:
    """The gradient of the images."""
    backward(b, operation, ())


def backward(b: Builder, operation: Operation, factors: Sequence[Operation]) -> None:
    """The gradient of the images, from the tops' diffs times these factors."""
    top_diff, weight, bottom_diff = (operation[n] for n in ("top_diff", "weight_data", "bottom_diff"))
    geometry = Geometry.of(bottom_diff, weight, top_diff, operation)
    few = geometry.source[1] <= FEW_CHANNELS and len(geometry.weights) == len(geometry.source)
    steady = b.constant(weight) and b.whole(weight)
    tiles = tiles_for(operation, geometry.target, geometry.source) if steady else None
    if steady and tiles is None and not few and joined(b, operation, factors, geometry):
        return
    kind = contiguous if few else chosen
    primitive = Primitive(
        "convolution_backward_data",
        library().engine,
        a.DIRECT,
        kind(geometry.source),
        chosen(geometry.weights),
        kind(geometry.target),
        *geometry.window,
        geometry.forward(None),
        Attributes(),
    )
    diff = b.read(top_diff, _layout(primitive, a.ASK_DIFF_DST))
    fold, weights = Fold(tuple(factors)) if factors else None, _layout(primitive, a.ASK_WEIGHTS)
    if tiles is not None:
        pad = [TAPS - 1 - pad for pad in operation.constants["window"].pad]
        target = b.write(bottom_diff, _layout(primitive, a.ASK_DIFF_SRC))
        convolve(b, tiles, pad, diff, target, Origin(weight, None, fold, backward=True), None)
        return
    memory = b.read(weight, weights) if fold is None else folded(b, weight, None, weights, fold)[0]
    target = b.write(bottom_diff, _layout(primitive, a.ASK_DIFF_SRC))
    b.add(primitive, {a.DIFF_DST: diff, a.WEIGHTS: memory, a.DIFF_SRC: target})


@translates("convolution_backward_weights")
def convolution_backward_weights(b: Builder, operation: Operation) -> None:
    """Added to what stands in the weights' diff; the bias's likewise if it is next."""
    image, top_diff, weight_diff = (operation[n] for n in ("bottom_data", "top_diff", "weight_diff"))
    geometry = Geometry.of(image, weight_diff, top_diff, operation)
    following = b.following("convolution_backward_bias", top_diff=top_diff)
    bias_diff = None if following is None else following["bias_diff"]
    primitive = Primitive(
        "convolution_backward_weights",
        library().engine,
        a.DIRECT,
        chosen(geometry.source),
        chosen(geometry.weights),
        None if bias_diff is None else contiguous(bias_diff.shape),
        chosen(geometry.target),
        *geometry.window,
        geometry.forward(None if bias_diff is None else contiguous(bias_diff.shape)),
        Attributes(),
    )
    source = b.read(image, _layout(primitive, a.ASK_SRC))
    diff = b.read(top_diff, _layout(primitive, a.ASK_DIFF_DST))
    product = Sum(b, weight_diff, _layout(primitive, a.ASK_DIFF_WEIGHTS))
    sums = None if bias_diff is None else Sum(b, bias_diff, contiguous(bias_diff.shape))
    memories: dict[int, Memory | None] = {a.SRC: source, a.DIFF_DST: diff, a.DIFF_WEIGHTS: product.memory}
    b.add(primitive, memories | ({} if sums is None else {a.DIFF_BIAS: sums.memory}))
    product.finish()
    if sums is not None:
        sums.finish()


def _layout(primitive: Primitive, query: int) -> Layout:
    found = primitive.layout(query)
    if found is None:
        raise DeclinedError
    return found
