"""std::random_shuffle over C's rand(), as GNU's libraries do it: how HDF5Data shuffles, whatever Caffe's seed is."""

from collections import deque
from collections.abc import MutableSequence
from typing import Any


class CRand:
    """glibc's rand(), as it starts in a program that never calls srand: r[i] = r[i - 3] + r[i - 31] (random_r.c)."""

    def __init__(self) -> None:
        first = [1]
        while len(first) < 31:
            first.append(16807 * first[-1] % (2**31 - 1))
        self._last = deque(first + first[:3], maxlen=31)
        for _ in range(310):
            self.draw()

    def draw(self) -> int:
        """A whole number of 0 to 2^31 - 1."""
        self._last.append((self._last[-3] + self._last[0]) % 2**32)
        return self._last[-1] >> 1

    def shuffle(self, items: MutableSequence[Any]) -> None:
        """Put the items into random order, in place."""
        for i in range(1, len(items)):
            other = self.draw() % (i + 1)
            items[i], items[other] = items[other], items[i]


process_rand = CRand()
"""The process's: two layers that shuffle draw from it in turn."""
