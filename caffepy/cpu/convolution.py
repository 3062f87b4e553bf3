"""Convolution and its derivatives; what follows in place and is linear in each channel is folded into the weights."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffepy.blob import Floats
from caffepy.cpu import arguments as a
from caffepy.cpu.build import Builder, DeclinedError
from caffepy.cpu.folding import Fold, following_affine
from caffepy.cpu.homes import DST, SRC, own_call, reorder
from caffepy.cpu.record import Operation
from caffepy.cpu.residual import following_sum, leave_out_top, other_operand
from caffepy.cpu.sums import Sum
from caffepy.cpu.table import translates
from caffepy.cpu.tiles import TAPS, tiles_for
from caffepy.cpu.winograd import Origin, convolve
from caffepy.device.onednn.handles import (
    Attributes,
    Layout,
    Memory,
    Primitive,
    chosen,
    contiguous,
    dims,
    library,
)
from caffepy.errors import DeviceError

FEW_CHANNELS = 4
"""Up to which oneDNN is faster with the picture's gradient as NumPy has it: blocks of channels would be mostly pad."""


@dataclass(frozen=True)
class Geometry:
    """The shapes of one call, and the window as oneDNN takes it."""

    source: tuple[int, ...]
    weights: tuple[int, ...]
    target: tuple[int, ...]
    window: tuple[Any, ...]
    """Strides, dilation from 0, padding before and behind."""

    @classmethod
    def of(cls, image: Floats, weight: Floats, top: Floats, operation: Operation) -> "Geometry":
        """Of the operation on these arrays."""
        w, group = operation.constants["window"], operation.constants["group"]
        axes, channels, outputs = len(w.kernel), weight.shape[1] * group, weight.shape[0]
        if not 1 <= axes <= 3:
            raise DeclinedError
        extent, positions = image.shape[image.ndim - axes :], top.shape[top.ndim - axes :]
        num = image.size // (channels * math.prod(extent))
        behind = [
            (p - 1) * s + (k - 1) * d + 1 - e - pad
            for p, s, k, d, e, pad in zip(positions, w.stride, w.kernel, w.dilation, extent, w.pad, strict=True)
        ]
        grouped = (group, outputs // group, weight.shape[1]) if group > 1 else (outputs, channels)
        dilation = [d - 1 for d in w.dilation]
        return cls(
            (num, channels, *extent),
            (*grouped, *w.kernel),
            (num, outputs, *positions),
            (dims(w.stride), dims(dilation), dims(w.pad), dims(behind)),
        )

    def forward(self, bias: Layout | None, slope: float | None = None, added: Layout | None = None) -> Primitive:
        """The primitive, which chooses its layouts; to its result something of a given layout may be added."""
        layouts = chosen(self.source), chosen(self.weights), bias, chosen(self.target)
        attributes = Attributes(slope=slope, binary=None if added is None else (a.ADD, added))
        engine = library().engine
        return Primitive("convolution_forward", engine, a.TRAINING, a.DIRECT, *layouts, *self.window, attributes)


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
    primitive = geometry.forward(vector, slope, form)
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
        further = {} if summed is None or form is None else {a.ADDED: b.read(other_operand(summed, top), form)}
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
        return _layout(geometry.forward(bias, 0.0, form), a.ASK_DST).key == form.key
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
    steady = b.constant(weight) and b.whole(weight)
    tiles = tiles_for(operation, geometry.target, geometry.source) if steady else None
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


def folded(b: Builder, weight: Floats, bias: Floats | None, layout: Layout, fold: Fold) -> tuple[Memory, Memory]:
    """The weights times the fold's factors in that layout, and the bias that goes with them; kept up to date."""
    target, plain = Memory(layout), Memory(contiguous(layout.shape))
    scaled = plain.array(weight.shape)
    shift = Memory(contiguous((len(weight),)))
    pack = own_call(reorder(plain.layout, layout), {SRC: plain, DST: target})
    raw_weight, raw_bias = b.raw(weight), None if bias is None else b.raw(bias)
    steps, shifts = fold.bound(b), shift.array((len(weight),))

    def fold_in() -> None:
        factor = np.ones(len(scaled), np.float32)
        shifts[...] = 0 if raw_bias is None else raw_bias
        for step in steps:
            step(factor, shifts)
        np.multiply(raw_weight, factor.reshape(-1, *(1,) * (scaled.ndim - 1)), out=scaled)
        pack()

    b.prepare([weight, *([] if bias is None else [bias]), *fold.sources], fold_in)
    return target, shift


def _layout(primitive: Primitive, query: int) -> Layout:
    found = primitive.layout(query)
    if found is None:
        raise DeclinedError
    return found
