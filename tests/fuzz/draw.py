"""Decisions taken by an input's bytes, so that whoever changes the bytes changes the decisions."""

import random
import zlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Draw:
    """Decisions, one byte each; when the bytes are used up, by chance seeded from them."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0
        self._chance = random.Random(zlib.crc32(data))

    def byte(self) -> int:
        """0 to 255."""
        if self._place < len(self._data):
            self._place += 1
            return self._data[self._place - 1]
        return self._chance.randrange(256)

    def below(self, number: int) -> int:
        """0 to number - 1."""
        return self.byte() % number if number <= 256 else (self.byte() << 8 | self.byte()) % number

    def one_in(self, number: int) -> bool:
        """Whether something of that probability happens."""
        return self.byte() % number == 0

    def choice(self, items: Sequence[T]) -> T:
        """One of them."""
        return items[self.below(len(items))]
