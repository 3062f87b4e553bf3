"""Places in one piece of memory for what is needed at different times."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]
MOST = 4000
"""How many are placed for which others make room: the time grows with the square."""

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Span:
    """From which step to which, both included, something is needed, and how much room it takes."""

    first: int
    last: int
    size: int

    def meets(self, other: "Span") -> bool:
        """Whether both are needed at once."""
        return self.first <= other.last and other.first <= self.last


def places(spans: Mapping[Key, Span], alignment: int = 1) -> tuple[dict[Key, int], int]:
    """Where each begins so that none lies over another that is needed at the same time, and the room for all.

    The largest are placed first, each at the lowest place that is free for as long as it is needed. (Sekiyama et al.
    2018, arXiv 1804.10001, call this best fit for dynamic storage allocation, which is NP-hard to solve exactly.) All
    but the MOST largest get places of their own, behind the others.
    """
    order = sorted(spans, key=lambda key: (-spans[key].size, spans[key].first))
    first, last, size = (np.array([getattr(spans[key], name) for key in order], np.int64) for name in Span.__slots__)
    start = np.zeros(len(order), np.int64)
    end = np.zeros(len(order), np.int64)
    total = 0
    for i in range(len(order)):
        if i < MOST:
            at = _lowest(*_together(start[:i], end[:i], (first[:i] <= last[i]) & (last[:i] >= first[i])), int(size[i]))
        else:
            at = total
        start[i], end[i] = at, -(-(at + size[i]) // alignment) * alignment
        total = max(total, int(end[i])) if i >= MOST - 1 else max(total, at + int(size[i]))
    return dict(zip(order, start.tolist(), strict=True)), total


def _together(start: Places, end: Places, chosen: NDArray[np.bool_]) -> tuple[Places, Places]:
    order = np.lexsort((end[chosen], start[chosen]))
    return start[chosen][order], end[chosen][order]


def _lowest(start: Places, end: Places, size: int) -> int:
    """The first gap of that size between pieces in the order of their starts."""
    free = np.maximum.accumulate(np.append(0, end))
    gaps = np.flatnonzero(free[:-1] + size <= start)
    return int(free[gaps[0]] if gaps.size else free[-1])
