"""What sources are made of: items with a key, in parts that can be sent to another process."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from caffepy.data.transform import Values


@dataclass(frozen=True)
class Item:
    """One picture, not yet read."""

    key: str
    """Its name in the source."""
    read: Callable[[], tuple[Values, int | None]]
    """Gives its (channels, height, width), colours in the order blue, green, red, and its label if it has one; on any
    thread. Raises CaffeError."""


class Part(Protocol):
    """Some of a source's items, one after the other. It can be pickled."""

    @property
    def first(self) -> int:
        """The number of its first item in the source."""

    @property
    def count(self) -> int:
        """How many items there are."""

    def items(self, color: bool | None) -> Iterator[Item]:
        """The items; encoded pictures decoded in colour, in grey, or (None) as they are."""


class Source(Protocol):
    """A row of items whose number and order do not change."""

    @property
    def name(self) -> str:
        """What it is and where, for messages."""

    @property
    def count(self) -> int:
        """How many items there are."""

    @property
    def bytes(self) -> int:
        """How much is read for all of them."""

    @property
    def digest(self) -> str:
        """Another one if items are added, taken away, renamed or of another size."""

    def part(self, first: int, count: int) -> Part:
        """`count` items from number `first` on, or as many as there are."""


def digest(lines: Iterable[object]) -> str:
    """A hash of the lines' text."""
    sha = hashlib.sha256()
    for line in lines:
        sha.update(f"{line}\n".encode(errors="surrogateescape"))
    return sha.hexdigest()


def clipped(first: int, count: int, total: int) -> slice:
    """That many items from `first` on, of `total`."""
    return slice(first, min(first + count, total))
