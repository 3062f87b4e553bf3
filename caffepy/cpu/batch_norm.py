"""What is linear in each channel and stays by itself: normalization by known statistics, scales and shifts."""

from collections.abc import Callable

import numpy as np

from caffepy.blob import Floats
from caffepy.cpu import arguments as a
from caffepy.cpu.build import Builder, DeclinedError
from caffepy.cpu.convolution import backward
from caffepy.cpu.folding import Fold, following_backward, known_statistics
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
    """With known statistics or weights; also a ReLU in place that follows."""
    if operation.name == "batch_norm_forward":
        if operation["normalized"] is not None:
            raise DeclinedError
    elif operation["kept"] is not None:
        if not _can(b, operation):
            raise DeclinedError
        move(b, operation["bottom_data"], operation["kept"])
    _affine(b, operation, operation["bottom_data"], operation["top_data"])


@translates("scale_backward", "batch_norm_global_backward")
def affine_backward(b: Builder, operation: Operation) -> None:
    """Folded into the convolution that follows, where nobody looks between."""
    if (found := following_backward(b, operation)) is not None:
        factors, product = found
        backward(b, product, factors)
    else:
        _affine(b, operation, operation["top_diff"], operation["bottom_diff"])


def _affine(b: Builder, operation: Operation, source: Floats, target: Floats) -> None:
    fold = Fold((operation,))
    if not _can(b, operation):
        raise DeclinedError
    channels = operation["channels"]
    layout = _images(b, operation, source)
    slope = b.following_slope(target) if operation.name.endswith("forward") else None
    flags = a.GLOBAL_STATISTICS | a.USE_SCALE | a.USE_SHIFT
    engine, attributes = library().engine, Attributes(slope=slope)
    primitive = Primitive("batch_normalization_forward", engine, a.INFERENCE, layout, layout, 0.0, flags, attributes)
    vectors = [_vector(channels, value) for value in (0, 1, 0, 0)]
    scale, shift = (vector.array((channels,)) for vector in vectors[2:])
    b.prepare(fold.sources, _factors(fold.bound(b), scale, shift))
    names = a.MEAN, a.VARIANCE, a.SCALE, a.SHIFT
    memory = b.read(source, layout)
    given: dict[int, Memory | None] = dict(zip(names, vectors, strict=True))
    b.add(primitive, {a.SRC: memory, **given, a.DST: b.write(target, layout)})


def _vector(channels: int, value: float) -> Memory:
    """One value for each channel, and for what pads their last block, which the library computes with, too."""
    memory = empty(4 * -(-channels // _BLOCK) * _BLOCK)
    memory.view(np.float32)[...] = value
    return Memory(contiguous((channels,)), address(memory), memory)


def _can(b: Builder, operation: Operation) -> bool:
    return all(b.constant(array) for array in Fold((operation,)).sources)


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
