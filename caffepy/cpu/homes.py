"""Homes of values on the CPU: packed in a layout that operations chose, or to be had by computing them again."""

import math
import operator
import weakref
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from caffepy.blob.home import Home
from caffepy.blob.storage import SyncedArray
from caffepy.device.onednn.handles import (
    SCRATCHPAD,
    Attributes,
    Call,
    Layout,
    Memory,
    Primitive,
    address,
    contiguous,
    library,
)
from caffepy.device.pages import giving_back
from caffepy.device.threads import threads
from caffepy.errors import StateError

SRC, DST = 1, 17
ASK_SCRATCHPAD = 136
AnyHome = TypeVar("AnyHome", bound=Home)
Memories = dict[int, Memory | None]
"""By the number of the primitive's argument."""

_known: weakref.WeakKeyDictionary[SyncedArray, "weakref.WeakValueDictionary[object, Any]"]
_known = weakref.WeakKeyDictionary()


_PIECE = 8 << 20
"""Bytes that are packed at once where the host's memory is given back."""
_MOVES = 4
"""Ways between two places that are remembered."""


def reorder(source: Layout, target: Layout, attributes: Attributes | None = None) -> Primitive:
    """Copies from one layout to another."""
    engine = library().engine
    return Primitive("reorder", source, engine, target, engine, attributes or Attributes())


def own_call(primitive: Primitive, memories: Memories) -> Call:
    """A primitive bound with scratch memory of its own."""
    layout = primitive.layout(ASK_SCRATCHPAD)
    return Call(primitive, {**memories, SCRATCHPAD: None if layout is None else Memory(layout)})


class Packed:
    """A storage's values in one layout."""

    __slots__ = ("__weakref__", "_moves", "memory")

    def __init__(self, layout: Layout, memory: Memory | None = None) -> None:
        self.memory = memory or Memory(layout)
        self._moves: dict[tuple[int, int, int], Call] = {}
        """By the places and the number of threads, which in a forked process is another."""

    def upload(self, host: NDArray[Any]) -> None:
        """Pack the host's values."""
        self._move(self._plain(host), self.memory)

    def download(self, host: NDArray[Any]) -> None:
        """Unpack them onto the host."""
        self._move(self.memory, self._plain(host))

    def move(self, host: NDArray[Any]) -> "Packing":
        """How they are packed where the host need not keep them."""
        return Packing(self.memory, host)

    def take(self, other: Home) -> bool:
        """Take the values from another layout, if it is of the same shape."""
        if not isinstance(other, Packed) or other.memory.layout.shape != self.memory.layout.shape:
            return False
        self._move(other.memory, self.memory)
        return True

    def _plain(self, host: NDArray[Any]) -> Memory:
        return Memory(contiguous(self.memory.layout.shape), address(host))

    def _move(self, source: Memory, target: Memory) -> None:
        number = threads()
        key = source.address, target.address, number
        if key not in self._moves:
            if len(self._moves) > _MOVES:
                self._moves.clear()
            with library().using(number):
                self._moves[key] = own_call(reorder(source.layout, target.layout), {SRC: source, DST: target})
        self._moves[key]()


class Shared(Packed):
    """Memory of a blob with that of blobs which are parts of it; or the memory of such a part.

    Only a pass that writes all of them writes there, so nothing else can be put in.
    """

    __slots__ = ("_parts",)

    def __init__(self, layout: Layout, memory: Memory | None = None) -> None:
        super().__init__(layout, memory)
        self._parts: weakref.WeakValueDictionary[object, Shared] = weakref.WeakValueDictionary()

    def part(self, storage: SyncedArray, layout: Layout, start: int) -> "Shared":
        """The storage's home in the bytes from `start` on; there is one."""
        found = self._parts.get((storage, start))
        if found is None:
            self._parts[storage, start] = found = Shared(layout, self.memory.viewed(layout, start))
        return found

    def upload(self, host: NDArray[Any]) -> None:
        """Only the pass that writes all of them can."""
        raise StateError(_ONLY_FORWARD)

    def take(self, other: Home) -> bool:
        """Not from elsewhere, either."""
        return False


_ONLY_FORWARD = "values of this kind are written by a forward pass only; run forward again"


class Packing:
    """Packs the host's values piece by piece, and gives back the memory of each piece that is packed."""

    def __init__(self, target: Memory, host: NDArray[Any]) -> None:
        layout, self._threads = target.layout, threads()
        rows, *rest = layout.shape
        row = 4 * math.prod(rest)
        number = max(1, _PIECE // (row * layout.block)) * layout.block
        calls: list[Call] = []
        steps: list[Callable[[], object]] = []
        with library().using(self._threads):
            for first in range(0, rows, number):
                last = min(first + number, rows)
                piece = last - first, *rest
                source = Memory(contiguous(piece), address(host) + first * row)
                part = target.viewed(layout.part(piece, (first, *(0 for _ in rest))))
                calls.append(own_call(reorder(source.layout, part.layout), {SRC: source, DST: part}))
                steps += calls[-1].run, giving_back(host, first * row, last * row)
        self._calls, self._steps = calls, iter(steps)

    def run(self) -> None:
        """Do what has not been done of it; no signal is handled in between, for no Python runs."""
        with library().using(self._threads):
            list(map(operator.methodcaller("__call__"), self._steps))


class Computed:
    """Values that a pass left out, or keeps in a form of oneDNN's own; `compute` gives them when they are wanted.

    own      oneDNN's form: the memory of it, None where it needs none, and what else it takes to use it; None for
             values left out altogether
    missed   whether the values were wanted
    """

    __slots__ = ("_compute", "missed", "own")

    def __init__(
        self, compute: Callable[[], NDArray[Any]], own: tuple[Memory | None, tuple[Any, ...]] | None = None
    ) -> None:
        self._compute, self.own, self.missed = compute, own, False

    def take(self, other: Home) -> bool:
        """Not from elsewhere, either."""
        return False

    def upload(self, host: NDArray[Any]) -> None:
        """Only the pass that computes them can."""
        raise StateError(_ONLY_FORWARD)

    def download(self, host: NDArray[Any]) -> None:
        """Compute the values."""
        self.missed = True
        values = self._compute().reshape(-1)
        np.copyto(host[: values.size], values)


class _Zeros(Computed):
    """Nothing but zeros."""

    def download(self, host: NDArray[Any]) -> None:
        """host = 0"""
        host.fill(0)


ZEROS = _Zeros(lambda: np.zeros(0, np.float32), (None, ()))
"""The home of what was cleared: nobody has to write zeros down before somebody adds to them."""


def packed(storage: SyncedArray, layout: Layout) -> Packed:
    """The storage's home in that layout; there is one."""
    return known(storage, layout.key, lambda: Packed(layout))


def shared(storage: SyncedArray, layout: Layout, parts: Hashable) -> Shared:
    """The storage's home in that layout together with these parts; there is one."""
    return known(storage, (layout.key, parts), lambda: Shared(layout))


def known(storage: SyncedArray, key: object, make: Callable[[], AnyHome]) -> AnyHome:
    """The storage's home of that key, made if there is none."""
    homes = _known.setdefault(storage, weakref.WeakValueDictionary())
    home: AnyHome | None = homes.get(key)
    if home is None:
        homes[key] = home = make()
    return home
