"""Random numbers as Caffe draws them: MT19937, one generator for the process and others seeded from it.

Caffe's generator is boost::mt19937 (src/caffe/common.cpp), whose outputs are those of the reference implementation
(Matsumoto & Nishimura 1998). The order of draws is part of what a seed means: a layer draws exactly what Caffe's draws.
"""

import secrets
from collections.abc import MutableSequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

RANGE = 2**32
"""Outputs are whole numbers of 0 to RANGE - 1."""


class Mt19937:
    """A generator of 32-bit outputs, started from a seed of which the lowest 32 bits count."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.MT19937()
        np.random.RandomState(self._bits).seed(seed % RANGE)
        self.generator = np.random.Generator(self._bits)
        """NumPy's distributions over the same stream of outputs."""

    def draw(self) -> int:
        """The next output."""
        return int(self._bits.random_raw())

    def draws(self, count: int) -> NDArray[np.uint32]:
        """The next `count` outputs."""
        return self._bits.random_raw(count).astype(np.uint32)

    def up_to(self, largest: int) -> int:
        """A whole number of 0 to `largest` (below RANGE - 1), each as likely: boost::uniform_int's way."""
        if largest == 0:
            return 0
        bucket, rest = divmod(RANGE - 1, largest + 1)
        bucket += rest == largest
        while True:
            if (number := self.draw() // bucket) <= largest:
                return number

    def shuffle(self, items: MutableSequence[Any]) -> None:
        """Put the items into random order, in place (Fisher & Yates; include/caffe/util/rng.hpp)."""
        for last in range(len(items) - 1, 0, -1):
            other = self.up_to(last)
            items[last], items[other] = items[other], items[last]


_process = Mt19937(secrets.randbits(32))


def set_random_seed(seed: int) -> None:
    """Start the process's generator afresh, so that all that draws from it repeats from here on."""
    global _process
    _process = Mt19937(seed)


def process() -> Mt19937:
    """The process's generator."""
    return _process


def generator() -> np.random.Generator:
    """NumPy's distributions over the process's generator."""
    return _process.generator
