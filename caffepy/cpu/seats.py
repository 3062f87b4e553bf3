"""Concat without copies: what a pass joins later is computed in its part of the joined blob's memory."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from caffepy.blob import Floats
from caffepy.blob.storage import Access, SyncedArray
from caffepy.cpu.arena import Passing
from caffepy.cpu.homes import Shared, shared
from caffepy.cpu.record import Operation, Recorder
from caffepy.device.onednn.handles import Layout, address
from caffepy.errors import DeviceError

Uses = dict[SyncedArray, list[tuple[int, Access]]]
"""By storage, the numbers of the operations that use it, and how."""


@dataclass(frozen=True)
class Group:
    """The operations that fill one joined blob."""

    parts: Sequence[Operation]
    shape: tuple[int, ...]
    """The joined blob's."""

    @property
    def firsts(self) -> list[int]:
        """The first channel of each part."""
        return [sum(op["part"].shape[1] for op in self.parts[:number]) for number in range(len(self.parts))]


def group(operations: Sequence[Operation], at: int) -> Group | None:
    """Operation `at` and those right behind it, if together they fill a whole with channels of images."""
    found, offset = [], 0
    for operation in operations[at:]:
        same = operation.name == "concat_forward" and address(operation["whole"]) == address(operations[at]["whole"])
        if not same or operation["offset"] != offset or offset == operation["run"]:
            break
        part: Floats = operation["part"]
        if part.ndim < 3 or part.shape[0] != operation["runs"] or part.size != operation["runs"] * operation["size"]:
            return None
        found.append(operation)
        offset += operation["size"]
    if not found or offset != found[0]["run"]:
        return None
    first = found[0]["part"].shape
    return Group(found, (first[0], sum(op["part"].shape[1] for op in found), *first[2:]))


@dataclass(frozen=True)
class _Seat:
    """A part of a joined blob, and its first channel there."""

    whole: SyncedArray
    first: int
    shape: tuple[int, ...]


class Seats:
    """Which storages of a pass are parts of others, and the memory that they have in common.

    Only of one image, whose channels lie together. Neither the part nor the whole may be changed once they are joined;
    and all that sits in a memory is written anew by each pass that writes any of it, so that no pass changes what
    another one left. `passing` takes up what has to be given memory for the pass alone.
    """

    def __init__(self, recorder: Recorder, passing: list[Passing]) -> None:
        self._recorder, self._passing = recorder, passing
        self._seats: dict[SyncedArray, _Seat] = {}
        self._shapes: dict[SyncedArray, tuple[int, ...]] = {}
        """Of the joined blobs."""
        self._cuts: dict[SyncedArray, list[tuple[int, tuple[int, ...]]]] = defaultdict(list)
        """Of the joined blobs, the first channel and the shape of each part, whether it has a seat or not."""
        self._memories: dict[SyncedArray, Shared | None] = {}
        operations = recorder.operations
        if any(operation.name == "concat_forward" for operation in operations):
            uses = self._uses()
            for at in range(len(operations)):
                if operations[at].name == "concat_forward" and operations[at]["offset"] == 0:
                    self._plan(uses, at)

    def home(self, storage: SyncedArray, layout: Layout) -> Shared | None:
        """Where the pass is to write the storage's values in that layout, if they sit in memory with others."""
        top, first = self._top(storage)
        if top not in self._shapes or layout.shape != self._shape(storage):
            return None
        whole = layout.of(self._shapes[top])
        if top not in self._memories:
            self._memories[top] = self._shared(top, whole)
        memory = self._memories[top]
        if memory is None or memory.memory.layout.key != whole.key:
            return None
        return memory if storage is top else memory.part(storage, *whole.inside(layout.shape, first))

    def layout(self, whole: SyncedArray) -> Layout | None:
        """The joined blob's, if some part of it has been given its place there."""
        memory = self._memories.get(self._top(whole)[0]) if whole in self._shapes else None
        return None if memory is None else memory.memory.layout.of(self._shapes[whole])

    def _shape(self, storage: SyncedArray) -> tuple[int, ...]:
        return self._seats[storage].shape if storage in self._seats else self._shapes[storage]

    def _top(self, storage: SyncedArray) -> tuple[SyncedArray, int]:
        """The outermost blob that the storage is a part of, and its first channel there."""
        first = 0
        while storage in self._seats:
            seat = self._seats[storage]
            storage, first = seat.whole, first + seat.first
        return storage, first

    def _shared(self, top: SyncedArray, layout: Layout) -> Shared | None:
        """Memory for all that sits in the blob, if no part cuts a block."""
        sitting = frozenset((storage, self._top(storage)[1]) for storage in self._seats if self._top(storage)[0] is top)
        try:
            for first, shape in self._pieces(top, 0):
                layout.inside(shape, first)
        except DeviceError:
            return None
        if not top.lent:
            return shared(top, layout, sitting)
        self._passing.append(Passing(layout))
        return Shared(layout, self._passing[-1])

    def _pieces(self, whole: SyncedArray, before: int) -> Iterator[tuple[int, tuple[int, ...]]]:
        """The first channel and the shape of every part of the blob, and of their parts."""
        for first, shape in self._cuts[whole]:
            yield before + first, shape
        for storage, seat in self._seats.items():
            if seat.whole is whole and storage in self._shapes:
                yield from self._pieces(storage, before + seat.first)

    def _uses(self) -> Uses:
        uses: Uses = defaultdict(list)
        for number, operation in enumerate(self._recorder.operations):
            for array, access in operation.arrays:
                place = self._recorder.place(array)
                if place is not None and access is not None:
                    uses[place.storage].append((number, access))
        return uses

    def _plan(self, uses: Uses, at: int) -> None:
        """Give the parts that are joined at operation `at` seats, where that is safe."""
        found = group(self._recorder.operations, at)
        place = None if found is None else self._recorder.place(found.parts[0]["whole"])
        if found is None or place is None or not place.whole or found.shape[0] != 1:
            return
        whole, end = place.storage, at + len(found.parts)
        if not all(at <= number and (number < end or access == "read") for number, access in uses[whole]):
            return
        for first, operation in zip(found.firsts, found.parts, strict=True):
            part: Floats = operation["part"]
            self._cuts[whole].append((first, part.shape))
            place = self._recorder.place(part)
            if place is None or not place.whole or not _may_sit(place.storage, whole, uses[place.storage], end):
                continue
            if place.storage not in self._seats:
                self._seats[place.storage] = _Seat(whole, first, part.shape)
                self._shapes[whole] = found.shape


def _may_sit(part: SyncedArray, whole: SyncedArray, uses: Sequence[tuple[int, Access]], end: int) -> bool:
    """Whether the pass writes the part before it joins it, at operations before `end`, and does not change it later."""
    if part is whole or (whole.lent is not None and part.lent is None):
        return False
    return uses[0][1] == "overwrite" and uses[0][0] < end and all(n < end or access == "read" for n, access in uses)
