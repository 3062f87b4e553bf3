"""Concat and Slice: parts of channels moved between layouts, in one call where all parts of a whole come together."""

import math

from caffepy.blob import Floats
from caffepy.cpu import arguments as a
from caffepy.cpu.build import Builder, DeclinedError
from caffepy.cpu.homes import DST, SRC, reorder
from caffepy.cpu.record import Operation
from caffepy.cpu.seats import Group, group
from caffepy.cpu.table import translates
from caffepy.device.onednn.handles import Attributes, Memory, Primitive, library
from caffepy.device.onednn.library import Handle
from caffepy.errors import DeviceError


@translates("concat_forward")
def concat_forward(b: Builder, operation: Operation) -> None:
    """All parts of the whole, if they are channels of images; what is in its place stays there."""
    found = group(b.operations, b.at - 1)
    if found is None:
        raise DeclinedError
    whole = b.joined(operation["whole"])
    if whole is None:
        _join(b, found, operation["whole"])
    else:
        _complete(b, found, whole)
    b.at += len(found.parts) - 1


def _complete(b: Builder, found: Group, whole: Memory) -> None:
    for first, operation in zip(found.firsts, found.parts, strict=True):
        part: Floats = operation["part"]
        piece, start = whole.layout.inside(part.shape, first)
        if not b.sits(part, piece, whole, start):
            layout = b.layout(part)
            source = b.read(part, layout)
            b.add(reorder(layout, piece), {SRC: source, DST: whole.viewed(piece, start)})


def _join(b: Builder, found: Group, whole: Floats) -> None:
    parts = [operation["part"] for operation in found.parts]
    packed = next((layout for layout in map(b.layout, parts) if not layout.plain), None)
    if packed is None:
        raise DeclinedError
    target = packed.of(found.shape)
    wanted = [packed.of(part.shape) for part in parts]
    handles = (Handle * len(wanted))(*[layout.handle for layout in wanted])
    primitive = Primitive("concat", library().engine, target, len(wanted), 1, handles, Attributes())
    sources = [b.read(part, layout) for part, layout in zip(parts, wanted, strict=True)]
    memories: dict[int, Memory | None] = {a.MULTIPLE_SRC + i: source for i, source in enumerate(sources)}
    b.add(primitive, {**memories, a.DST: b.write(whole, target)})


@translates("slice_forward")
def slice_forward(b: Builder, operation: Operation) -> None:
    """One part, in the layout of the whole if blocks of channels are not cut; in its memory where nobody else looks."""
    whole, part = operation["whole"], operation["part"]
    shape = _channels(operation)
    inner = math.prod(shape[2:])
    first, rest = divmod(operation["offset"], inner)
    layout = b.layout(whole, (shape[0], operation["run"] // inner, *shape[2:]))
    if rest or layout.plain:
        raise DeclinedError
    if b.lent(whole) and b.lent(part) and b.whole(part):
        try:
            piece, start = layout.inside(shape, first)
        except DeviceError:
            pass
        else:
            b.alias(part, b.read(whole, layout).viewed(piece, start))
            return
    try:
        cut = layout.part(shape, (0, first, *(0,) * (len(shape) - 2)))
    except DeviceError:
        raise DeclinedError from None
    target = layout.of(shape)
    primitive = reorder(cut, target)
    memory = b.read(whole, layout)
    b.add(primitive, {SRC: memory.viewed(cut), DST: b.write(part, target)})


def _channels(operation: Operation) -> tuple[int, ...]:
    """The part's shape, if it is joined along axis 1 of images."""
    part: Floats = operation["part"]
    if part.ndim < 3 or part.shape[0] != operation["runs"] or part.size != operation["runs"] * operation["size"]:
        raise DeclinedError
    return tuple(part.shape)
