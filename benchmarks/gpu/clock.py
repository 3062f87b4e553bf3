"""Medians, of what runs with a cold L2 cache."""

import statistics
from collections.abc import Callable

from benchmarks.gpu.sizes import Sizes

Elapsed = Callable[[Callable[[], None]], float]
"""Milliseconds that what a body asks for takes on the device."""

MOST_COPIES = 256
FLUSHED = 8
"""L2 caches' worth of memory that is written before each sample."""


def copies(nbytes: int, sizes: Sizes) -> int:
    """How many copies of `nbytes` each must take turns so that none is in the L2 cache when it is used again."""
    return min(MOST_COPIES, max(1, -(-2 * sizes.l2 // max(nbytes, 1))))


def median(body: Callable[[], None], elapsed: Elapsed, sizes: Sizes, before: Callable[[], None] | None = None) -> float:
    """Milliseconds, the first run not counted. `before`, which is not timed, comes before each."""

    def sample() -> float:
        if before:
            before()
        return elapsed(body)

    wanted = sizes.budget / max(sample(), 1e-3)
    return statistics.median(sample() for _ in range(int(min(max(wanted, sizes.fewest), sizes.most))))
