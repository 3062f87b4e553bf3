"""Net.gradient: the layers between, with diffs of their own."""

import functools
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffepy import device, graph
from caffepy.blob import Blob, Floats, SyncedArray, fit
from caffepy.errors import ArgumentError, StateError
from caffepy.layer import Layer
from caffepy.layers.utility.split import split_backward
from caffepy.net import plans
from caffepy.net.execution import Execution
from caffepy.net.sharing import Turns

VersionName = str | tuple[str, str]

Versions = tuple[graph.Version, ...]


class Diffs:
    """The diffs that gradients go through, what is injected into them and taken from them."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._diffs: dict[SyncedArray, SyncedArray] = {}
        self._injected: dict[graph.Version, SyncedArray] = {}
        self._wanted: dict[graph.Version, SyncedArray] = {}
        self._turns: Turns | None = None

    def settle(self) -> None:
        """Let diffs take turns in the same memory, as the shapes are now."""
        if self._turns is None:
            self._turns = Turns([self.diff(blob) for blob in range(len(self._execution.blobs))])
        self._turns.settle(self._execution)

    def wanted(self, version: graph.Version) -> SyncedArray:
        """Where the gradient of that version goes."""
        return self._wanted.setdefault(version, SyncedArray())

    def injected(self, version: graph.Version) -> SyncedArray:
        """What is injected into that version."""
        return self._injected.setdefault(version, SyncedArray())

    def diff(self, blob: int) -> SyncedArray:
        """The storage that stands in for the blob's diffs; blobs with shared diffs share it."""
        return self._diffs.setdefault(self._execution.blobs[blob].diff_storage, SyncedArray(private=True))

    def blob(self, version: graph.Version) -> Blob:
        """The blob that the version is one of."""
        return self._execution.blobs[self._execution.wiring.blob(version)]

    def zero(self, storage: SyncedArray, blob: Blob) -> None:
        """Fill it with zeros, as many as the blob has elements."""
        device.current().fill(storage.array(blob.whole_count, "overwrite"), 0)

    def put(self, version: graph.Version) -> None:
        """Let the diff be what is injected."""
        count = self.blob(version).whole_count
        value = self.injected(version).array(count)
        device.current().copy(value, self.of(version).array(count, "overwrite"))

    def add(self, version: graph.Version) -> None:
        """Add to the diff what is injected."""
        count = self.blob(version).whole_count
        total = self.of(version).array(count, "update")
        split_backward(total, self.injected(version).array(count), total)

    def take(self, version: graph.Version) -> None:
        """Let the result be the diff."""
        count = self.blob(version).whole_count
        wanted = self.wanted(version).array(count, "overwrite")
        device.current().copy(self.of(version).array(count), wanted)

    def of(self, version: graph.Version) -> SyncedArray:
        """The storage of the version's diff."""
        return self.diff(self._execution.wiring.blob(version))


class GradientPass:
    """The diffs, schedules and memory of inputs that the gradients of a net's passes need."""

    def __init__(self, execution: Execution) -> None:
        self._execution, self._diffs = execution, Diffs(execution)
        self._schedules: dict[tuple[Hashable, Versions, Versions], Schedule] = {}
        self._inputs: dict[int, tuple[SyncedArray, Floats]] = {}
        """By top, an input's memory and a copy of what it held."""
        self.touched: set[SyncedArray] = set()
        """Inputs that may be written to unseen, or have been touched since their copies were made."""
        self._input_layers = [
            (i, top)
            for i, layer in enumerate(execution.layers)
            if layer.type == "Input"
            for top in execution.wiring.tops[i]
        ]

    def remember_inputs(self, start: int, end: int) -> None:
        """Keep a copy of what the Input layers among `start` to `end` held in this forward pass.

        In GPU mode only of inputs that the host holds: what a script writes on the GPU is its own business.
        """
        for i, top in self._input_layers:
            if not start <= i <= end:
                continue
            blob = self._execution.blobs[top]
            storage = blob.data_storage
            if storage.on_host and (storage.fresh or isinstance(device.current(), device.Cpu)):
                if not self._stands(top):
                    self._remember(top, blob)
            else:
                self._inputs.pop(top, None)

    def _remember(self, top: int, blob: Blob) -> None:
        storage, (before, kept) = blob.data_storage, self._inputs.get(top, (None, None))
        if kept is None or kept.shape != blob.shape:
            kept = blob.read().copy()
        else:
            np.copyto(kept, blob.read())
        if before is not storage:
            storage.watch(self)
            self.touched -= {before}
        self._inputs[top] = storage, kept
        if storage.viewed:  # and so written to unseen
            self.touched.add(storage)
        else:
            self.touched.discard(storage)

    def _stands(self, top: int) -> bool:
        """Whether nobody can have written to the input since its copy was made."""
        blob, (storage, kept) = self._execution.blobs[top], self._inputs.get(top, (None, None))
        return kept is not None and blob.data_storage is storage not in self.touched and kept.shape == blob.shape

    def run(
        self,
        diffs: Mapping[VersionName, Any],
        wrt: VersionName | Iterable[VersionName] | None,
        out: Mapping[VersionName, Any],
    ) -> dict[VersionName, Any]:
        """See Net.gradient."""
        diffs_of = self._diffs
        if wrt is None:
            wrt = self._execution.wiring.inputs
        names = [wrt] if isinstance(wrt, str | tuple) else list(wrt)
        wanted = {name: self._version(name, first=True) for name in names}
        injected = [(self._version(name, first=False), name, value) for name, value in diffs.items()]
        values = [
            fit(value, diffs_of.blob(version).shape, f"gradient: diff of {name!r}") for version, name, value in injected
        ]
        versions = tuple(version for version, _, _ in injected)
        diffs_of.settle()
        schedule = self._schedule(versions, tuple(wanted.values()))
        self._check_forward(schedule)
        results = {name: self._result(name, version, out) for name, version in wanted.items()}
        for version, value in zip(versions, values, strict=True):
            if (blob := diffs_of.blob(version)).rows is not None:
                diffs_of.zero(diffs_of.injected(version), blob)
            diffs_of.injected(version).put(value)
        schedule.run()
        for name, version in wanted.items():
            device.current().copy(diffs_of.wanted(version).array(diffs_of.blob(version).count), results[name])
        return results

    def _schedule(self, injected: Versions, wanted: Versions) -> "Schedule":
        rules, execution = self._execution.rules, self._execution
        key = rules and rules.key, injected, wanted
        if key not in self._schedules:
            plan = plans.plan_gradient(execution.wiring, execution.facts, injected, wanted)
            for i, propagate_down in plan.steps:
                execution.check_overwritten(i, propagate_down, weights=False)
            self._schedules[key] = Schedule(execution, self._diffs, plan, key)
        return self._schedules[key]

    def _version(self, name: VersionName, *, first: bool) -> graph.Version:
        execution = self._execution
        blob, layer = name if isinstance(name, tuple) and len(name) == 2 else (name, None)
        versions = execution.wiring.versions(execution.wiring.index(blob))
        if layer is None:
            return versions[0 if first else -1]
        for version in versions:
            if execution.layers[version[0]].name == layer:
                return version
        tops = list(execution.layers[execution.layer_index(layer)].param.top)
        raise ArgumentError(f"gradient: layer {layer!r} does not write blob {blob!r}, but {tops}")

    def _check_forward(self, schedule: "Schedule") -> None:
        self._execution.check_kept()
        if stale := self._execution.stale & schedule.needs:
            name = self._execution.layers[min(stale)].name
            raise StateError(
                f"gradient: layer {name!r} has not run in the last forward pass; run forward as "
                "far as the blobs you inject into (for a version before in-place layers, name it (blob, layer))"
            )
        for top, (_, kept) in self._inputs.items():
            if self._stands(top):
                continue
            if not np.array_equal(self._execution.blobs[top].read().view(np.int32), kept.view(np.int32)):
                raise StateError(
                    f"gradient: input {self._execution.wiring.blobs[top]!r} was changed since the last forward pass; "
                    "run forward again"
                )

    def _result(self, name: VersionName, version: graph.Version, out: Mapping[VersionName, Any]) -> Any:
        running, blob = device.current(), self._diffs.blob(version)
        if name not in out:
            return running.zeros(blob.count, np.float32).reshape(blob.shape)
        given = out[name]
        if not running.is_array(given) or given.dtype != np.float32 or given.shape != blob.shape:
            found = f"{given.dtype} {given.shape}" if hasattr(given, "dtype") else type(given).__name__
            raise ArgumentError(
                f"gradient: out[{name!r}] must be a float32 array of shape {blob.shape} on {running.name}, got {found}"
            )
        return given


@dataclass
class Segment:
    """Actions on the diffs that are captured as one, or one layer's backward on the host."""

    layers: list[int]
    """Those that run backward, and those whose tops' diffs are written or taken."""
    on_host: bool
    actions: list[Callable[[], None]]


class Schedule:
    """What a gradient does, in order: settled once, because which diffs hold something does not depend on data."""

    def __init__(
        self,
        execution: Execution,
        diffs: Diffs,
        plan: plans.GradientPlan,
        key: tuple[Hashable, Versions, Versions],
    ) -> None:
        self._execution, self._diffs, self._key = execution, diffs, ("gradient", *key)
        _, injected, wanted = key
        self._steps = dict(plan.steps)
        self._active: set[SyncedArray] = set()
        self._segments = [Segment([], False, [])]
        self.needs = {*self._steps, *(version[0] for version in injected)}
        """Layers that must have run forward."""
        unreached = set(wanted)
        for i in sorted({*self._steps, *(version[0] for version in (*injected, *wanted))}, reverse=True):
            for version in injected:
                if version[0] == i:
                    self._inject(version)
            for version in wanted:
                if version[0] == i and diffs.of(version) in self._active:
                    self._do(diffs.take, version, layer=i)
                    unreached.discard(version)
            if i in self._steps:
                self._step(i)
        for version in unreached:
            self._do(diffs.zero, diffs.wanted(version), diffs.blob(version), layer=version[0])

    def run(self) -> None:
        """Run the layers and leave the gradients in `diffs.wanted`."""
        for number, segment in enumerate(self._segments):
            body = functools.partial(self._body, segment)
            if segment.on_host:
                body()
            else:
                self._execution.replay.run((*self._key, number), segment.layers, body)

    def _body(self, segment: Segment) -> None:
        with no_weight_gradients([self._execution.layers[i] for i in segment.layers]):
            for action in segment.actions:
                action()

    # ---- making the schedule

    def _do(self, action: Callable[..., None], *args: Any, layer: int, on_host: bool = False) -> None:
        if on_host or self._segments[-1].on_host:
            self._segments.append(Segment([], on_host, []))
        self._segments[-1].actions.append(functools.partial(action, *args))
        self._segments[-1].layers.append(layer)

    def _inject(self, version: graph.Version) -> None:
        diff = self._diffs.of(version)
        self._do(self._diffs.add if diff in self._active else self._diffs.put, version, layer=version[0])
        self._active.add(diff)

    def _step(self, i: int) -> None:
        execution, wiring, diff_of = self._execution, self._execution.wiring, self._diffs.diff
        for top in wiring.tops[i]:
            if diff_of(top) not in self._active:
                self._do(self._diffs.zero, diff_of(top), execution.blobs[top], layer=i)
        self._do(execution.backward_layer, i, self._steps[i], diff_of, layer=i, on_host=execution.on_host(i))
        self._active -= {diff_of(top) for top in wiring.tops[i]}
        self._active |= {diff_of(blob) for blob, runs in zip(wiring.bottoms[i], self._steps[i], strict=True) if runs}


@contextmanager
def no_weight_gradients(layers: Sequence[Layer]) -> Iterator[None]:
    """Let the layers' backward go to their bottoms only."""
    kept = [layer.param_propagate_down for layer in layers]
    for layer in layers:
        layer.param_propagate_down = [False] * len(layer.blobs)
    try:
        yield
    finally:
        for layer, flags in zip(layers, kept, strict=True):
            layer.param_propagate_down = flags
