"""What is linear in each channel and stays by itself: normalization by known statistics, scales and shifts."""

from collections.abc import Callable

import numpy as np

from caffepy.blob import Floats
from caffepy.cpu import arguments as a
from caffepy.cpu.build import Builder, DeclinedError
from caffepy.cpu.convolution import backward
from caffepy.cpu.folding import Fold, again, following_backward, known_statistics
from caffepy.cpu.homes import Computed
from caffepy.cpu.moves import move
from caffepy.cpu.record import Operation
from caffepy.cpu.table import translates
from caffepy.device.onednn.handles import (
    Attributes,
    Layout,
    Memory,
    Primitive,
    address,
    contiguous,
    empty,
    library,
)

_BLOCK = 16
"""Channels in the largest blocks."""

translates("batch_norm_global_stats", "batch_norm_widen")(known_statistics)


@translates("batch_norm_forward", "scale_forward")
def affine_forward(b: Builder, operation: Operation) -> None:
    """With known statistics or weights; also a scale in place that follows a normalization, and a ReLU in place."""
    last = operation
    if operation.name == "batch_norm_forward":
        if operation["normalized"] is not None:
            raise DeclinedError
        last = _following_scale(b, operation) or operation
    elif operation["kept"] is not None:
        if not _can(b, Fold((operation,))):
            raise DeclinedError
        move(b, operation["bottom_data"], operation["kept"])
    fold = Fold((operation,) if last is operation else (operation, last))
    _affine(b, fold, operation["bottom_data"], operation["top_data"])
    if last is not operation and last["kept"] is not None:
        b.compute(last["kept"], Computed(again(b, [operation], "top_data")))


def _following_scale(b: Builder, normalization: Operation) -> Operation | None:
    """A scale in place that comes next, and counts as done; what it keeps is computed when somebody asks for it."""
    if b.at == len(b.operations):
        return None
    scale, top, bottom = b.operations[b.at], normalization["top_data"], normalization["bottom_data"]
    if scale.name != "scale_forward" or not _alike(scale, normalization, "bottom_data", "top_data", top):
        return None
    stands = not b.keeps or (address(bottom) != address(top) and b.stands(bottom))
    if scale["kept"] is not None and (not stands or b.is_wanted(scale["kept"])):
        return None
    if not _can(b, Fold((normalization, scale))):
        return None
    b.at += 1
    return scale


@translates("scale_backward", "batch_norm_global_backward")
def affine_backward(b: Builder, operation: Operation) -> None:
    """Folded into the convolution that follows, where nobody looks between; or with the normalization that does."""
    if (found := following_backward(b, operation)) is not None:
        factors, product = found
        backward(b, product, factors)
        return
    last = _following_normalization(b, operation) or operation
    fold = Fold((operation,) if last is operation else (operation, last))
    _affine(b, fold, operation["top_diff"], last["bottom_diff"])


def _following_normalization(b: Builder, scale: Operation) -> Operation | None:
    """The derivative of a normalization that comes next, and counts as done, if nobody looks at what is between."""
    between = scale["bottom_diff"]
    following = b.operations[b.at] if b.at < len(b.operations) else None
    if following is None or scale.name != "scale_backward" or following.name != "batch_norm_global_backward":
        return None
    if not _alike(following, scale, "top_diff", "top_diff", between) or not _can(b, Fold((scale, following))):
        return None
    if address(following["bottom_diff"]) != address(between) and not (b.private(between) and b.dead(between, b.at + 1)):
        return None
    b.at += 1
    return following


def _alike(second: Operation, first: Operation, one: str, other: str, array: Floats) -> bool:
    """Whether these arguments of the second are that array, and its channels are the first's."""
    if any(address(second[name]) != address(array) for name in (one, other)):
        return False
    return (second["channels"], second["inner"]) == (first["channels"], first["inner"])


def _affine(b: Builder, fold: Fold, source: Floats, target: Floats) -> None:
    if not _can(b, fold):
        raise DeclinedError
    operation = fold.operations[0]
    channels = operation["channels"]
    layout = _images(b, operation, source)
    slope = b.following_slope(target) if operation.name.endswith("forward") else None
    flags = a.GLOBAL_STATISTICS | a.USE_SCALE | a.USE_SHIFT
    engine, attributes = library().engine, Attributes(slope=slope)
    primitive = Primitive("batch_normalization_forward", engine, a.INFERENCE, layout, layout, 1.0, flags, attributes)
    vectors = [_vector(channels) for _ in range(4)]  # deviations are sqrt(0 + 1), also where blocks are padded
    scale, shift = (vector.array((channels,)) for vector in vectors[2:])
    b.prepare(fold.sources, _factors(fold.bound(b), scale, shift))
    names = a.MEAN, a.VARIANCE, a.SCALE, a.SHIFT
    memory = b.read(source, layout)
    given: dict[int, Memory | None] = dict(zip(names, vectors, strict=True))
    b.add(primitive, {a.SRC: memory, **given, a.DST: b.write(target, layout)})


def _vector(channels: int) -> Memory:
    """Zeros for the channels, and for what pads their last block, which the library computes with, too."""
    memory = empty(4 * -(-channels // _BLOCK) * _BLOCK)
    return Memory(contiguous((channels,)), address(memory), memory)


def _can(b: Builder, fold: Fold) -> bool:
    return all(b.constant(array) for array in fold.sources)


def _factors(steps: list[Callable[[Floats, Floats], None]], scale: Floats, shift: Floats) -> Callable[[], None]:
    def compute() -> None:
        scale[...], shift[...] = 1, 0
        for step in steps:
            step(scale, shift)

    return compute


def _images(b: Builder, operation: Operation, array: Floats) -> Layout:
    """The values' layout, if their channels are what the operation means; else of images made for it."""
    names = ("num", "channels", "inner") if "num" in operation.arguments else ("outer", "channels", "inner")
    outer, channels, inner = (operation[name] for name in names)
    layout = b.form(array)
    shape = layout.shape
    if len(shape) >= 3 and shape[:2] == (outer, channels) and int(np.prod(shape[2:])) == inner:
        return layout
    return contiguous((outer, channels, 1, inner))
