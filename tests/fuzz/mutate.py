"""Inputs made of others by chance: bytes changed, numbers made extreme, pieces cut, copied, taken from elsewhere."""

import random
from collections.abc import Sequence

_NUMBERS = 0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**64 - 1
_BYTES = 0, 1, 0x7F, 0x80, 0xFF, 0x0A, 0x22, 0x7B


class Mutator:
    """Changes inputs; equal seeds make equal changes.

    tokens   pieces that mean something to the reader
    most     bytes that an input may grow to
    """

    def __init__(self, seed: int, tokens: Sequence[bytes] = (), most: int = 1 << 16) -> None:
        self.chance = random.Random(seed)
        self._tokens, self._most = tokens, most

    def __call__(self, data: bytes, other: bytes) -> bytes:
        """`data` changed in one place or a few, perhaps with a piece of `other` in it."""
        out = bytearray(data)
        for _ in range(self.chance.choice((1, 1, 1, 2, 2, 4, 8))):
            self._change(out, other)
        return bytes(out[: self._most])

    def _change(self, out: bytearray, other: bytes) -> None:
        chance = self.chance
        place = chance.randrange(len(out) + 1)
        if chance.random() < 0.5:  # structure is at the beginning of most files
            place = min(place, chance.randrange(64))
        what = chance.randrange(10 if self._tokens else 8)
        length = chance.choice((1, 1, 2, 4, 8, 16, chance.randrange(1, 257)))
        if what == 0 and out:
            out[min(place, len(out) - 1)] ^= 1 << chance.randrange(8)
        elif what == 1 and out:
            out[min(place, len(out) - 1)] = chance.choice((*_BYTES, chance.randrange(256)))
        elif what == 2:
            size = chance.choice((1, 2, 4, 8))
            number = chance.choice(_NUMBERS) & (1 << 8 * size) - 1
            out[place : place + size] = number.to_bytes(size, chance.choice(("little", "big")))
        elif what == 3:
            del out[place : place + length]
        elif what == 4:
            out[place:place] = out[place : place + length]
        elif what == 5:
            begin = chance.randrange(len(other) + 1)
            out[place : place + chance.choice((0, length))] = other[begin : begin + length]
        elif what == 6:
            out[place:place] = bytes(chance.choice((0, 0xFF, chance.randrange(256))) for _ in range(length))
        elif what == 7 and chance.random() < 0.3:
            del out[place:]
        elif what >= 8:
            token = chance.choice(self._tokens)
            out[place : place + chance.choice((0, len(token)))] = token
