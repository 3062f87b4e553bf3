"""Calls made from operations: which memory each reads and writes, and the reorders between."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffepy.blob.storage import Access, SyncedArray
from caffepy.cpu.arena import Passing, Placed
from caffepy.cpu.homes import (
    ASK_SCRATCHPAD,
    DST,
    SRC,
    ZEROS,
    AnyHome,
    Computed,
    Memories,
    Packed,
    known,
    packed,
    reorder,
)
from caffepy.cpu.knowledge import Knowledge
from caffepy.cpu.record import Operation, Recorder
from caffepy.cpu.seats import Seats
from caffepy.cpu.value import Value, unowned
from caffepy.device.onednn.handles import SCRATCHPAD, Call, Layout, Memory, Primitive, address, contiguous, empty
from caffepy.device.onednn.product import Product

Bound = Call | Product | Callable[[], object]
"""What a pass consists of in the end; functions are NumPy's work."""
Step = tuple[Primitive, Memories] | Product | Callable[[], object]


class DeclinedError(Exception):
    """oneDNN has nothing that computes this operation for these arguments; its NumPy body does."""


class Builder(Knowledge):
    """The calls of a pass, in the making. Translations of operations read and write arrays and add primitives."""

    def __init__(self, recorder: Recorder, wanted: set[SyncedArray], *, keeps: bool = True) -> None:
        super().__init__(recorder, wanted, keeps=keeps)
        self.steps: list[Step] = []
        self.names: list[str] = []
        self.declined: list[str] = []
        """Operations that oneDNN computes in general, but not for these arguments."""
        self.preparations: list[Preparation] = []
        self._passing: list[Passing] = []
        self._pins: list[int] = []
        """Steps that may read whatever was written before."""
        self._scratch = 0
        self.seats = Seats(recorder, self._passing)

    # ---- arrays

    def read(self, array: NDArray[Any], layout: Layout) -> Memory:
        """The values in that layout, reordered where they are not so yet."""
        value = self._value(array)
        if layout.plain:
            if value is not None:
                self._unpack(value)
            return Memory(layout, address(array), None if value else array)
        if value is None:
            raise DeclinedError
        if self._whole(array) is None:
            raise DeclinedError
        if (found := value.memory(layout)) is not None:
            return found
        source = self._source(value, layout)
        if source is None:
            home = self._home(value, layout)
            value.homes[layout.key] = home
            value.need(home)
            return home.memory
        target = self.passing(layout)
        self.add(reorder(source.layout, layout), {SRC: source, DST: target})
        value.copies[layout.key] = target
        return target

    def write(self, array: NDArray[Any], layout: Layout) -> Memory:
        """Memory in that layout to write the values to; where else they were, they are old now."""
        value = self._value(array)
        if value is None:
            if not layout.plain:
                raise DeclinedError
            return Memory(layout, address(array), array)
        if layout.plain:
            if self._whole(array) is None:
                self._unpack(value)
            value.overwrite()
            return Memory(layout, address(array))
        if self._whole(array) is None:
            raise DeclinedError
        home: Packed = self.seats.home(value.storage, layout) or self._home(value, layout)
        value.overwrite(home)
        return home.memory

    def update(self, array: NDArray[Any], layout: Layout) -> Memory:
        """Memory with the values in that layout, to be changed in place; where else they were, they are old now."""
        value = self._whole(array)
        if layout.plain or value is None:
            self.read(array, layout)
            return self.write(array, layout)
        if (home := value.homes.get(layout.key)) is not None:
            value.need(home)
        else:
            home, source = self._home(value, layout), self._source(value, layout)
            if source is None:
                value.need(home)
            else:
                self.add(reorder(source.layout, layout), {SRC: source, DST: home.memory})
        value.overwrite(home)
        return home.memory

    def joined(self, whole: NDArray[Any]) -> Memory | None:
        """Memory to write the whole to, if parts of it have been written there already."""
        value = self._whole(whole)
        layout = None if value is None else self.seats.layout(value.storage)
        return None if layout is None else self.write(whole, layout)

    def sits(self, part: NDArray[Any], layout: Layout, whole: Memory, start: int) -> bool:
        """Whether the part's values are in the whole's memory from byte `start` on."""
        value = self._whole(part)
        seat = None if value is None else self.seats.home(value.storage, layout)
        if value is None or seat is None or value.homes.get(layout.key) is not seat:
            return False
        return seat.memory.address == whole.address + start

    def zeros(self, array: NDArray[Any]) -> bool:
        """Whether every run finds nothing but zeros, which nobody has written down yet."""
        value = self._whole(array)
        if value is None or value.computed is not ZEROS:
            return False
        value.need(ZEROS)
        return True

    def rename(self, source: NDArray[Any], target: NDArray[Any]) -> bool:
        """Let the target's values be where the source's are, if nobody uses the source from here on or sees either."""
        old, new = self._whole(source), self._whole(target)
        if old is None or new is None or not (old.storage.private and new.storage.private) or not old.homes:
            return False
        for operation in self.operations[self.at :]:
            if any(self._value(argument) is old for argument, _ in operation.arrays):
                return False
        new.overwrite(next(iter(old.homes.values())))
        return True

    def alias(self, array: NDArray[Any], memory: Memory) -> None:
        """Let the array's values be in that memory, which nothing changes as long as the pass goes on."""
        value = self._whole(array)
        if value is None:
            raise DeclinedError
        value.overwrite(Packed(memory.layout, memory))

    def compute(self, array: NDArray[Any], computed: Computed) -> None:
        """Leave the array's values out: they are what `computed` gives, if they should be wanted."""
        value = self._whole(array)
        if value is None:
            raise DeclinedError
        value.overwrite(computed=computed)

    def computed(self, array: NDArray[Any]) -> tuple[Memory | None, tuple[Any, ...]]:
        """oneDNN's own form of the array, which `compute` was told of in this pass or in one before."""
        value = self._whole(array)
        if value is None or value.computed is None or value.computed.own is None:
            raise DeclinedError
        value.need(value.computed)
        return value.computed.own

    def derived(self, array: NDArray[Any], key: object, make: Callable[[], AnyHome]) -> AnyHome:
        """A home, of that key, of values made from the array's, which the pass only reads."""
        value = self._whole(array)
        if value is None or value.written:
            raise DeclinedError
        home = known(value.storage, key, make)
        value.need(home)
        return home

    def _source(self, value: Value, layout: Layout) -> Memory | None:
        """What to reorder in this pass; None where the host's values are packed before it, once for many passes."""
        if value.plain and not value.written:
            return None
        if (found := value.any_memory()) is not None and found.layout.shape == layout.shape:
            return found
        if value.written or found is not None:
            self._unpack(value)
            return Memory(contiguous(layout.shape), value.start)
        return None

    def _unpack(self, value: Value) -> None:
        """Have the values on the host."""
        if value.plain:
            value.need(None)
            return
        if (source := value.any_memory()) is not None:
            target = Memory(contiguous(source.layout.shape), value.start)
            self.add(reorder(source.layout, target.layout), {SRC: source, DST: target})
        elif value.written and value.computed is not None:
            raw = unowned(value.start, (self.recorder.used[value.storage][0],), np.dtype(value.storage.dtype))
            if value.computed is not ZEROS:
                self._pins.append(len(self.steps))
            self.call("fill" if value.computed is ZEROS else "compute", partial(value.computed.download, raw))
        else:
            value.need(None)
        value.plain = True

    # ---- steps

    def temporary(self, layout: Layout) -> Memory:
        """Memory for values that the next steps use up."""
        return Memory(layout)

    def passing(self, layout: Layout) -> Memory:
        """Memory for values that are needed from the step that first uses it to the last."""
        self._passing.append(Passing(layout))
        return self._passing[-1]

    def kept(self, layout: Layout) -> Memory:
        """Memory for what backward needs of forward; where nothing runs backward it is needed no longer than that."""
        return Memory(layout) if self.keeps else self.passing(layout)

    def _home(self, value: Value, layout: Layout) -> Packed:
        if value.storage.lent:
            return Packed(layout, self.passing(layout))
        return packed(value.storage, layout)

    def add(self, primitive: Primitive, memories: Memories) -> None:
        """Run the primitive on these memories next."""
        if (scratch := primitive.layout(ASK_SCRATCHPAD)) is not None:
            self._scratch = max(self._scratch, scratch.size)
        self.steps.append((primitive, memories))
        self.names.append(primitive.kind)

    def product(self, product: Product) -> None:
        """Compute it next."""
        self.steps.append(product)
        self.names.append(product.name)

    def call(self, name: str, function: Callable[[], object]) -> None:
        """Call the function next."""
        self.steps.append(function)
        self.names.append(name)

    def prepare(
        self, sources: Sequence[NDArray[Any]], run: Callable[[], object], results: Sequence[NDArray[Any]] = ()
    ) -> None:
        """Before the pass, whenever one of these arrays was written: `run`, which finds their values on the host.

        The results that it writes there are part of what the pass leaves.
        """
        found = []
        for array in sources:
            value = self._value(array)
            assert value is not None
            self._unpack(value)
            found.append(value)
        written = []
        for array in results:
            value = self._value(array)
            assert value is not None
            value.overwrite()
            value.prepared = True
            written.append(value.storage)
        self.preparations.append(Preparation(tuple(v.storage for v in found), tuple(written), run))

    def body(self, operation: Operation) -> None:
        """Let the operation's NumPy body run next, on the host's memory."""
        self.on_host(operation.arrays)
        self.call(operation.name, self.bare(operation))

    def on_host(self, arrays: Sequence[tuple[NDArray[Any], Access | None]]) -> None:
        """Have the arrays' values on the host, where they are used so next."""
        for array, access in arrays:
            value = self._value(array)
            if value is not None and (access != "overwrite" or self._whole(array) is None):
                self._unpack(value)
        for array, access in arrays:
            value = self._value(array)
            if value is not None and access != "read":
                value.overwrite()

    def bare(self, operation: Operation) -> Callable[[], object]:
        """The operation's NumPy body on the host's memory, whatever is there."""
        return partial(operation.body, *map(self.raw, operation.args), **operation.constants)

    def raw(self, value: Any) -> Any:
        """The same memory; of a storage, without holding on to it, so that it does not count as looked at.

        Also of the arrays in lists and tuples; other values are themselves.
        """
        if isinstance(value, np.ndarray):
            return value if self._value(value) is None else unowned(address(value), value.shape, value.dtype)
        if isinstance(value, list | tuple):
            found = map(self.raw, value)
            return value._make(found) if hasattr(value, "_make") else type(value)(found)
        return value

    def finished(self) -> tuple[list[Bound], Placed]:
        """The steps, bound, and what has still to be given memory; scratch memory is common to all."""
        used = [[m for m in step[1].values() if m] if isinstance(step, tuple) else [] for step in self.steps]
        scratch = empty(self._scratch)
        calls: list[Bound] = []
        for step in self.steps:
            if isinstance(step, tuple):
                primitive, memories = step
                layout = primitive.layout(ASK_SCRATCHPAD)
                shared = None if layout is None else Memory(layout, address(scratch), scratch)
                calls.append(Call(primitive, {**memories, SCRATCHPAD: shared}))
            else:
                calls.append(step)
        return calls, Placed(self._passing, used, self._pins)


@dataclass(frozen=True)
class Preparation:
    """What a pass keeps of values that it only reads, such as weights folded into others."""

    sources: tuple[SyncedArray, ...]
    results: tuple[SyncedArray, ...]
    run: Callable[[], object]
