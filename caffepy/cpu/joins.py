"""Concat and Slice: parts of channels moved between layouts, in one call where all parts of a whole come together."""

import math
from collections.abc import Sequence

from caffepy.blob import Floats
from caffepy.cpu import arguments as a
from caffepy.cpu.build import Builder, DeclinedError
from caffepy.cpu.homes import DST, SRC, reorder
from caffepy.cpu.record import Operation
from caffepy.cpu.table import translates
from caffepy.device.onednn.handles import Attributes, Memory, Primitive, address, library
from caffepy.device.onednn.library import Handle
from caffepy.errors import DeviceError


@translates("concat_forward")
def concat_forward(b: Builder, operation: Operation) -> None:
    """All parts of the whole, if they follow one another and are channels of images."""
    whole, parts = operation["whole"], _parts(b, operation)
    shapes = [_channels(op) for op in parts]
    layouts = [b.layout(op["part"], shape) for op, shape in zip(parts, shapes, strict=True)]
    packed = [layout for layout in layouts if not layout.plain]
    if not packed or sum(op["size"] for op in parts) != operation["run"]:
        raise DeclinedError
    shape = shapes[0][0], sum(s[1] for s in shapes), *shapes[0][2:]
    target = packed[0].of(shape)
    wanted = [packed[0].of(s) for s in shapes]
    handles = (Handle * len(wanted))(*[layout.handle for layout in wanted])
    primitive = Primitive("concat", library().engine, target, len(wanted), 1, handles, Attributes())
    sources = [b.read(op["part"], layout) for op, layout in zip(parts, wanted, strict=True)]
    b.at += len(parts) - 1
    memories: dict[int, Memory | None] = {a.MULTIPLE_SRC + i: source for i, source in enumerate(sources)}
    b.add(primitive, {**memories, a.DST: b.write(whole, target)})


@translates("slice_forward")
def slice_forward(b: Builder, operation: Operation) -> None:
    """One part, which stays in the layout of the whole if blocks of channels are not cut."""
    whole, part = operation["whole"], operation["part"]
    shape = _channels(operation)
    inner = math.prod(shape[2:])
    channels, rest = divmod(operation["offset"], inner)
    layout = b.layout(whole, (shape[0], operation["run"] // inner, *shape[2:]))
    if rest or layout.plain:
        raise DeclinedError
    try:
        piece = layout.part(shape, (0, channels, *(0,) * (len(shape) - 2)))
    except DeviceError:
        raise DeclinedError from None
    target = layout.of(shape)
    primitive = reorder(piece, target)
    memory = b.read(whole, layout)
    b.add(primitive, {SRC: memory.viewed(piece), DST: b.write(part, target)})


def _parts(b: Builder, first: Operation) -> Sequence[Operation]:
    """The operation and those right behind it that fill the same whole, in order."""
    found, offset = [first], first["size"]
    for operation in b.operations[b.at :]:
        if operation.name != "concat_forward" or address(operation["whole"]) != address(first["whole"]):
            break
        if operation["offset"] != offset:
            break
        found.append(operation)
        offset += operation["size"]
    if first["offset"] != 0:
        raise DeclinedError
    return found


def _channels(operation: Operation) -> tuple[int, ...]:
    """The part's shape, if it is joined along axis 1 of images."""
    part: Floats = operation["part"]
    if part.ndim < 3 or part.shape[0] != operation["runs"] or part.size != operation["runs"] * operation["size"]:
        raise DeclinedError
    return tuple(part.shape)
