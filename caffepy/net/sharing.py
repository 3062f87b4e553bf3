"""Blobs that take turns in the same memory: data where only outputs are wanted, the diffs of gradients always."""

from collections.abc import Callable, Collection, Iterable, Sequence

from caffepy.blob import Blob, SyncedArray
from caffepy.blob.liveness import Span, places
from caffepy.errors import ArgumentError, StateError
from caffepy.net.execution import Execution

ALIGNMENT = 16
"""Elements: 64 bytes, which vector instructions and GPUs like."""

Storages = Sequence[SyncedArray]
"""By blob."""


def spans(execution: Execution, storages: Storages) -> dict[SyncedArray, Span]:
    """By storage, the layers from the first to the last that touch it, and its elements."""
    found: dict[SyncedArray, Span] = {}
    for i in range(len(execution.layers)):
        for blob in (*execution.wiring.bottoms[i], *execution.wiring.tops[i]):
            before = found.get(storages[blob], Span(i, i, 0))
            found[storages[blob]] = Span(before.first, i, max(before.size, execution.blobs[blob].whole_count))
    return found


def data_of(execution: Execution) -> list[SyncedArray]:
    """The storages of the blobs' data."""
    return [blob.data_storage for blob in execution.blobs]


def diffs_of(execution: Execution) -> list[SyncedArray]:
    """The storages of the blobs' diffs."""
    return [blob.diff_storage for blob in execution.blobs]


def kept(execution: Execution, keep: Iterable[str]) -> set[SyncedArray]:
    """The data of these blobs and of those that no pass may lose: inputs, outputs, losses, shapes from the data."""
    wiring, storages = execution.wiring, data_of(execution)
    found = {storages[wiring.index(name)] for name in (*wiring.inputs, *wiring.outputs, *keep)}
    found |= {blob.data_storage for _, blob in execution.losses}
    first_dynamic = next((i for i, layer in enumerate(execution.layers) if layer.dynamic), len(execution.layers))
    return found | {storage for storage, span in spans(execution, storages).items() if span.last >= first_dynamic}


def sharing(execution: Execution, storages: Storages, but: Collection[SyncedArray] = ()) -> dict[SyncedArray, Span]:
    """Those that can take turns: all `but` these and those of layers on the host, where passes have to stop."""
    stretch = _stretches(execution)
    return {
        storage: span
        for storage, span in spans(execution, storages).items()
        if storage not in but and stretch[span.first] == stretch[span.last] and not execution.layers[span.first].host
    }


def _stretches(execution: Execution) -> list[int]:
    """By layer, the number of the stretch that it is in: some pass may stop between them, on whatever device."""
    found, number, before_stops = [], 0, False
    for layer in execution.layers:
        number += layer.host or layer.dynamic or before_stops
        before_stops = layer.host
        found.append(number)
    return found


def sizes(execution: Execution, storages: Storages, but: Collection[SyncedArray] = ()) -> tuple[int, int]:
    """Elements with one buffer for each storage, and with those that can taking turns."""
    whole = spans(execution, storages)
    taking_turns = sharing(execution, storages, but)
    alone = sum(span.size for storage, span in whole.items() if storage not in taking_turns)
    return sum(span.size for span in whole.values()), alone + places(taking_turns, ALIGNMENT)[1]


class Turns:
    """Lends storages places in memory of its own; `settle` before a pass, for shapes may have changed."""

    def __init__(self, storages: Storages, but: Collection[SyncedArray] = ()) -> None:
        self._storages, self._but = storages, but
        self._memory = SyncedArray()
        self._settled_at = -1
        self._starts: dict[SyncedArray, int] = {}
        self.spans: dict[SyncedArray, Span] = {}

    def settle(self, execution: Execution) -> None:
        """Give every storage its place."""
        changes = Blob.changes
        if self._settled_at == changes:
            return
        self.spans = sharing(execution, self._storages, self._but)
        starts, total = places(self.spans, ALIGNMENT)
        if starts != self._starts:
            self.check_memory(execution, 4 * total)
            if self._starts:
                execution.replay.clear()
            self._starts = starts
            self._memory.reserve(total)
            for storage, start in starts.items():
                storage.lent = self._memory, start
        self._settled_at = changes

    def check_memory(self, execution: Execution, size: int) -> None:
        """Raise LayerError where so many bytes are too much, before they are taken."""
        execution.budget.check_diffs(size, execution.layers)


class Inference(Turns):
    """The data of a net built with memory="inference"."""

    def __init__(self, execution: Execution, keep: Collection[str]) -> None:
        super().__init__(data_of(execution), kept(execution, keep))
        self.settle(execution)
        execution.replay.on_cpu.keeps = False
        self._names: dict[SyncedArray, str] = {}
        for name, blob in zip(execution.wiring.blobs, execution.blobs, strict=True):
            if blob.data_storage in self.spans:
                self._names.setdefault(blob.data_storage, name)
                blob.data_storage.private = True
                blob.data_storage.before_asked = _refusal(name)

    def check_memory(self, execution: Execution, size: int) -> None:
        whole = spans(execution, self._storages)
        alone = sum(span.size for storage, span in whole.items() if storage not in self.spans)
        execution.budget.take_turns(size + 4 * alone, execution.layers)

    def check_start(self, execution: Execution, start: int) -> None:
        """Raise StateError where a pass that begins at this layer would read what an earlier one has lost."""
        for storage, span in self.spans.items():
            if span.first < start <= span.last:
                raise StateError(
                    f"forward from layer {execution.layers[start].name!r} reads blob {self._names[storage]!r}, "
                    f'whose values are gone: {_WHY}; name it in keep=["{self._names[storage]}"]'
                )


def turns(execution: Execution, memory: str, keep: str | Iterable[str]) -> Inference | None:
    """What Net's `memory` and `keep` ask for. Raises ArgumentError, UnknownBlobError."""
    names = [keep] if isinstance(keep, str) else list(keep)
    for name in names:
        execution.wiring.index(name)
    if memory not in ("full", "inference"):
        raise ArgumentError(f'memory={memory!r}; give "full", or "inference" where only the outputs are wanted')
    return Inference(execution, names) if memory == "inference" else None


_WHY = 'with memory="inference" blobs take turns in the same memory'


def _refusal(name: str) -> Callable[[SyncedArray, bool], None]:
    def refuse(storage: SyncedArray, on_gpu: bool) -> None:
        raise StateError(
            f'the values of blob {name!r} are gone: {_WHY}. Build the net with keep=["{name}"], or without memory='
        )

    return refuse
