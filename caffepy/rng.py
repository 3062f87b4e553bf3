"""Random numbers as Caffe draws them: MT19937, one generator for the process and others seeded from it.

Caffe's generator is boost::mt19937 (src/caffe/common.cpp), whose outputs are those of the reference implementation
(Matsumoto & Nishimura 1998). The order of draws is part of what a seed means: a layer draws exactly what Caffe's draws.
"""

import os
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

    def uniform(self, out: NDArray[np.float32], low: float, high: float) -> None:
        """Fill `out` with U(low, high), one output for each, seldom two: caffe_rng_uniform, boost::uniform_real."""
        flat, filled = out.reshape(-1), 0
        least, most = np.float32(low), np.nextafter(np.float32(high), np.float32(np.inf))
        while filled < flat.size:
            drawn = self.draws(min(flat.size - filled, _AT_ONCE)).astype(np.float32)
            drawn /= np.float32(RANGE)
            drawn *= most - least
            drawn += least
            if not (below := drawn < most).all():  # singles close to 1 were rounded to it
                drawn = drawn[below]
            flat[filled : filled + drawn.size] = drawn
            filled += drawn.size

    def bernoulli(self, count: int, probability: float, kind: type[np.floating] = np.float64) -> NDArray[np.bool_]:
        """`count` times true with that probability, one output for each: caffe_rng_bernoulli.

        `kind` is the precision of C++ that it is called with.
        """
        if probability == 0:
            return np.zeros(count, np.bool_)
        return self.draws(count).astype(kind) <= kind(probability) * kind(RANGE - 1)


_AT_ONCE = 1 << 20
_PROCESS, _KERNELS = "process", "kernels"
_generators: dict[str, Mt19937] = {}
"""Made when they are first asked for, which is when NumPy loads its own: that takes a while."""


def _generator(name: str) -> Mt19937:
    if name not in _generators:
        _generators.setdefault(name, Mt19937(int.from_bytes(os.urandom(4), "little")))
    return _generators[name]


def set_random_seed(seed: int) -> None:
    """Start the process's generator afresh, so that all that draws from it repeats from here on."""
    _generators.update({_PROCESS: Mt19937(seed), _KERNELS: Mt19937(~seed)})


def kernel_seed() -> int:
    """A seed, of 31 bits, for a kernel that draws for itself on a GPU; the process's generator draws nothing for it."""
    return _generator(_KERNELS).draw() >> 1


def process() -> Mt19937:
    """The process's generator."""
    return _generator(_PROCESS)


def generator() -> "np.random.Generator":
    """NumPy's distributions over the process's generator."""
    return _generator(_PROCESS).generator
