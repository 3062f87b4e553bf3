"""Where values are above zero, as bytes: a ReLU's derivative is a product with them."""

import math

from caffepy.blob import Floats
from caffepy.cpu import arguments as a
from caffepy.cpu.build import Builder
from caffepy.device.onednn.handles import BYTE, Attributes, Layout, Memory, Primitive, contiguous, library, strided

_BLOCK = 16


def has_mask(b: Builder, data: Floats, layout: Layout) -> bool:
    """Whether `mask` can be made of the data in that layout."""
    return b.whole(data) and math.prod(layout.shape) == data.size and layout.size % (4 * _BLOCK) == 0


def mask(b: Builder, data: Floats, layout: Layout) -> Memory:
    """1 where the data are above zero, 0 elsewhere; in bytes that lie as in that layout."""
    shape = 1, _BLOCK, layout.size // (4 * _BLOCK), 1
    floats, zero = contiguous(shape), contiguous((1, _BLOCK, 1, 1))
    flat = strided(shape, (layout.size // 4, shape[2], 1, 1), BYTE)
    values, found = b.read(data, layout), b.passing(layout.bytes())
    primitive = Primitive("binary", library().engine, a.GREATER, floats, zero, flat, Attributes())
    b.add(primitive, {a.SRC: values.viewed(floats), a.SRC_1: Memory(zero), a.DST: found.viewed(flat)})
    return found
