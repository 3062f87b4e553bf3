"""What a pass does, noted instead of done: its operations, fills and copies, and how each uses which storage."""

import bisect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffepy.blob.storage import Access, SyncedArray, Trace
from caffepy.device import cpu
from caffepy.device.onednn.handles import address
from caffepy.kernels import Kernel, observed


@dataclass(frozen=True)
class Operation:
    """One call of an operation's body, or a fill or a copy."""

    name: str
    body: Callable[..., object]
    arguments: tuple[str, ...]
    args: tuple[Any, ...]
    constants: Mapping[str, Any]
    arrays: tuple[tuple[NDArray[Any], Access | None], ...]
    """Those among the arguments, and what the operation does to each that is of a storage."""

    def __getitem__(self, argument: str) -> Any:
        """An argument by its name."""
        return self.args[self.arguments.index(argument)]


@dataclass(frozen=True)
class Place:
    """Where an array lies."""

    storage: SyncedArray
    start: int
    """The address of the storage's memory."""
    whole: bool
    """Whether the array is all of the storage that the pass uses."""


def arrays_in(values: Iterable[Any]) -> Iterator[NDArray[Any]]:
    """The arrays among these values, and those in lists and tuples among them."""
    for value in values:
        if isinstance(value, np.ndarray):
            yield value
        elif isinstance(value, list | tuple):
            yield from arrays_in(value)


class Recorder(Trace):
    """Notes what `body` does; `operations` is the list."""

    def __init__(self, body: Callable[[], object]) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self._starts: dict[int, SyncedArray] = {}
        self._sorted: list[int] = []
        self.moved = False
        """A storage grew meanwhile, so that operations noted before are of memory that is gone: record again."""
        self._places_seen: dict[SyncedArray, int] = {}
        self._pending: dict[SyncedArray, Access] = {}
        self._last: dict[SyncedArray, Access] = {}
        with self, observed(self._operation), cpu.recorded(self):
            body()

    def note(self, storage: SyncedArray, count: int, access: Access) -> None:
        """One use of a storage, for the operations that come next."""
        super().note(storage, count, access)
        start = address(storage.plain(count))
        if start not in self._starts:
            bisect.insort(self._sorted, start)
        self.moved |= storage.places != self._places_seen.setdefault(storage, storage.places)
        self._starts[start] = storage
        before = self._pending.get(storage, access)
        self._pending[storage] = access if before == access else "update"

    def fill(self, array: NDArray[Any], value: float) -> None:
        """Note that every element becomes `value`."""
        self._add("fill", np.ndarray.fill, ("array", "value"), (array, value), {})

    def copy(self, source: NDArray[Any], target: NDArray[Any]) -> None:
        """Note that `target` becomes `source`."""
        self._add("copy", np.copyto, ("target", "source"), (target, source.reshape(target.shape)), {})

    def place(self, array: NDArray[Any]) -> Place | None:
        """Which storage the array lies in; None for memory that is no storage's."""
        at = address(array)
        index = bisect.bisect_right(self._sorted, at) - 1
        if index < 0:
            return None
        start = self._sorted[index]
        storage = self._starts[start]
        count = self.used[storage][0]
        if at + array.nbytes > start + count * np.dtype(storage.dtype).itemsize or (count == 0 and at != start):
            return None
        return Place(storage, start, at == start and array.size == count)

    def _operation(self, kernel: Kernel[Any], args: Sequence[Any], constants: Mapping[str, Any]) -> bool:
        self._add(kernel.name, kernel.twin, tuple(kernel.arguments), tuple(args), dict(constants))
        return False

    def _add(
        self,
        name: str,
        body: Callable[..., object],
        arguments: tuple[str, ...],
        args: tuple[Any, ...],
        constants: Mapping[str, Any],
    ) -> None:
        places = [(array, self.place(array)) for array in arrays_in(args)]
        now = {storage: self._access(storage) for storage in {place.storage for _, place in places if place}}
        arrays = tuple((array, None if place is None else now[place.storage]) for array, place in places)
        self.operations.append(Operation(name, body, arguments, args, constants, arrays))

    def _access(self, storage: SyncedArray) -> Access:
        """As it was asked for since its last use; asked for earlier, what an operation overwrote is there to read."""
        if storage in self._pending:
            self._last[storage] = self._pending.pop(storage)
        elif self._last[storage] == "overwrite":
            self._last[storage] = "update"
        return self._last[storage]
