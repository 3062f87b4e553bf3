"""Places in one piece of memory for what is needed at different times."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

Key = TypeVar("Key")


@dataclass(frozen=True)
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
    2018, arXiv 1804.10001, call this best fit for dynamic storage allocation, which is NP-hard to solve exactly.)
    """
    starts: dict[Key, int] = {}
    total = 0
    for key in sorted(spans, key=lambda key: (-spans[key].size, spans[key].first)):
        span, at = spans[key], 0
        for start, end in sorted(
            (starts[other], starts[other] + spans[other].size) for other in starts if span.meets(spans[other])
        ):
            if at + span.size <= start:
                break
            at = max(at, -(-end // alignment) * alignment)
        starts[key] = at
        total = max(total, at + span.size)
    return starts, total
