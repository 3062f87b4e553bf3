"""What processes that train together can do: average arrays, and hand them round."""

from collections.abc import Sequence
from typing import Protocol

from caffepy.blob.storage import SyncedArray

Part = tuple[SyncedArray, int]
"""A storage, and how many of its first elements are meant."""


class Group(Protocol):
    """Processes, each with a rank from 0 to size - 1. All make the same calls in the same order."""

    rank: int
    size: int

    def broadcast(self, parts: Sequence[Part]) -> None:
        """Give all of them rank 0's values."""

    def begin_mean(self, parts: Sequence[Part]) -> None:
        """Begin to replace the values by their mean over all ranks; they may not be touched before `end_means`."""

    def end_means(self) -> None:
        """Return when the means that were begun are there, for whatever is launched from now on."""

    def largest(self, number: int) -> int:
        """The largest of the numbers that the ranks give, small ones."""
