"""Memory of a net's captured passes for what no pass leaves behind: it is the same for all of them."""

import weakref
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffepy.blob.liveness import Span, places
from caffepy.device.onednn.handles import ALIGNMENT, Layout, Memory, address, empty


class Passing(Memory):
    """A layout over bytes that have their place once it is known when in a pass they are needed."""

    __slots__ = ("_parts",)

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout, 0)
        self._parts: list[weakref.ref[Memory]] = []

    def viewed(self, layout: Layout, start: int = 0) -> Memory:
        """The same bytes, or those from `start` on, in another layout."""
        part = Memory(layout, self.address + start, self)
        self._parts.append(weakref.ref(part))
        return part

    def place(self, at: int, keep: object) -> None:
        """Let the bytes be at that address, which `keep` keeps alive."""
        shift = at - self.address
        super().place(at, keep)
        for known in self._parts:
            if (part := known()) is not None:
                part.place(part.address + shift, self)


def whole(memory: Memory) -> Memory:
    """The memory that this one is a view of, or itself."""
    return memory.keep if isinstance(memory.keep, Passing) else memory


class Placed:
    """A pass's memories with their places."""

    def __init__(self, memories: Sequence[Passing], steps: Iterable[Iterable[Memory]], pins: Sequence[int]) -> None:
        """`steps` are the memories that each step uses; at steps in `pins` everything used before is needed still."""
        first: dict[Passing, int] = {}
        last: dict[Passing, int] = {}
        for step, used in enumerate(steps):
            for memory in map(whole, used):
                if isinstance(memory, Passing):
                    first.setdefault(memory, step)
                    last[memory] = step
            if step in pins:
                last |= dict.fromkeys(last, step)
        spans = {m: Span(first[m], last[m], m.layout.size) for m in memories if m in first}
        self._places, self.size = places(spans, ALIGNMENT)

    def move(self, buffer: NDArray[Any]) -> None:
        """Put all of them into that buffer."""
        for memory, at in self._places.items():
            memory.place(address(buffer) + at, buffer)


class Arena:
    """One buffer for the passes of a net, as large as the largest needs."""

    def __init__(self) -> None:
        self._buffer: NDArray[Any] = np.zeros(0, np.uint8)
        self._placed: weakref.WeakSet[Placed] = weakref.WeakSet()

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self._buffer)

    def add(self, placed: Placed) -> None:
        """Give them memory; where it has to grow, the others move along, for between passes nothing is in it."""
        self._placed.add(placed)
        if placed.size > len(self._buffer):
            self._buffer = empty(placed.size)
            for other in self._placed:
                other.move(self._buffer)
        else:
            placed.move(self._buffer)

    def renew(self) -> None:
        """Take memory of the same size that nobody has written to yet: processes forked then have nothing to copy."""
        self._buffer = empty(len(self._buffer))
        for placed in self._placed:
            placed.move(self._buffer)
