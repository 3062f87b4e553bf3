"""Net.gradient: the layers between, with diffs of their own."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from caffepy import device, graph
from caffepy.blob import Blob, Floats, SyncedArray, fit
from caffepy.errors import ArgumentError, StateError
from caffepy.layers.split import split_backward

if TYPE_CHECKING:
    from caffepy.net.net import Net

VersionName = str | tuple[str, str]


class GradientPass:
    """The diffs, plans and memory of inputs that a net's gradients need."""

    def __init__(self, net: "Net") -> None:
        self._net = net
        self._diffs: dict[SyncedArray, SyncedArray] = {}
        self._plans: dict[tuple[tuple[graph.Version, ...], tuple[graph.Version, ...]], graph.GradientPlan] = {}
        self._inputs: dict[int, Floats] = {}
        self._injected: dict[graph.Version, SyncedArray] = {}
        self._wanted: dict[graph.Version, SyncedArray] = {}

    def remember_inputs(self, start: int, end: int) -> None:
        """Keep a copy of what the Input layers among `start` to `end` held in this forward pass.

        In GPU mode only of inputs that the host has a copy of: what a script writes on the GPU is its own business.
        """
        net = self._net
        for i in range(start, end + 1):
            if net.layers[i].type == "Input":
                for top in net.wiring.tops[i]:
                    blob = net.blob_at(top)
                    if blob.data_storage.on_host:
                        self._inputs[top] = self._host_data(top).copy()
                    else:
                        self._inputs.pop(top, None)

    def _host_data(self, blob: int) -> Floats:
        found = self._net.blob_at(blob)
        data: Floats = found.data_storage.read_host(found.count).reshape(found.shape)
        return data

    def run(
        self,
        diffs: Mapping[VersionName, Any],
        wrt: VersionName | Iterable[VersionName] | None,
        out: Mapping[VersionName, Any],
    ) -> dict[VersionName, Any]:
        """See Net.gradient."""
        net = self._net
        if wrt is None:
            wrt = net.inputs
        names = [wrt] if isinstance(wrt, str | tuple) else list(wrt)
        wanted = {name: self._version(name, first=True) for name in names}
        injected = [(self._version(name, first=False), name, value) for name, value in diffs.items()]
        values = [
            fit(value, self._blob(version).shape, f"gradient: diff of {name!r}") for version, name, value in injected
        ]
        versions = tuple(version for version, _, _ in injected)
        plan = self._plan(versions, tuple(wanted.values()))
        self._check_forward([i for i, _ in plan.steps], versions)
        for i, propagate_down in plan.steps:
            with self._no_weight_gradients(plan):
                net.check_overwritten(i, propagate_down)
        results = {name: self._result(name, version, out) for name, version in wanted.items()}
        for version, value in zip(versions, values, strict=True):
            self._injected.setdefault(version, SyncedArray()).put(value)
        run = _Run(net, self, plan, versions, tuple(wanted.values()))
        with self._no_weight_gradients(plan):
            net.replay.run(("gradient", versions, tuple(wanted.values())), run.body)
        for name, version in wanted.items():
            device.current().copy(self.wanted(version).array(self._blob(version).count), results[name])
        return results

    def wanted(self, version: graph.Version) -> SyncedArray:
        """Where the gradient of that version goes."""
        return self._wanted.setdefault(version, SyncedArray())

    def injected(self, version: graph.Version) -> SyncedArray:
        """What is injected into that version."""
        return self._injected[version]

    def _blob(self, version: graph.Version) -> Blob:
        return self._net.blob_at(self._net.wiring.blob(version))

    def diff(self, blob: int) -> SyncedArray:
        """The storage that stands in for the blob's diffs; blobs with shared diffs share it."""
        return self._diffs.setdefault(self._net.blob_at(blob).diff_storage, SyncedArray())

    def _plan(self, injected: tuple[graph.Version, ...], wanted: tuple[graph.Version, ...]) -> graph.GradientPlan:
        key = injected, wanted
        if key not in self._plans:
            self._plans[key] = graph.plan_gradient(self._net.wiring, self._net.facts, injected, wanted)
        return self._plans[key]

    def _version(self, name: VersionName, *, first: bool) -> graph.Version:
        wiring = self._net.wiring
        if isinstance(name, str):
            self._net.blob(name)
            return wiring.versions(wiring.blobs.index(name))[0 if first else -1]
        blob, layer = name
        self._net.blob(blob)
        index = self._net.layer_index(layer)
        for version in wiring.versions(wiring.blobs.index(blob)):
            if version[0] == index:
                return version
        raise ArgumentError(
            f"gradient: layer {layer!r} does not write blob {blob!r}, but {list(self._net.layers[index].param.top)}"
        )

    def _check_forward(self, steps: Sequence[int], injected: Sequence[graph.Version]) -> None:
        net = self._net
        for i in sorted({*steps, *(version[0] for version in injected)}):
            if not net.is_fresh(i):
                raise StateError(
                    f"gradient: layer {net.layers[i].name!r} has not run in the last forward pass; run forward as far "
                    "as the blobs you inject into (for a version before in-place layers, name it (blob, layer))"
                )
        for top, kept in self._inputs.items():
            if not np.array_equal(self._host_data(top), kept, equal_nan=True):
                raise StateError(
                    f"gradient: input {net.wiring.blobs[top]!r} was changed since the last forward pass; "
                    "run forward again"
                )

    def _result(self, name: VersionName, version: graph.Version, out: Mapping[VersionName, Any]) -> Any:
        running, blob = device.current(), self._blob(version)
        if name not in out:
            return running.zeros(blob.count, np.float32).reshape(blob.shape)
        given = out[name]
        if not running.is_array(given) or given.dtype != np.float32 or given.shape != blob.shape:
            found = f"{given.dtype} {given.shape}" if hasattr(given, "dtype") else type(given).__name__
            raise ArgumentError(
                f"gradient: out[{name!r}] must be a float32 array of shape {blob.shape} on {running.name}, got {found}"
            )
        return given

    @contextmanager
    def _no_weight_gradients(self, plan: graph.GradientPlan) -> Iterator[None]:
        layers = [self._net.layers[i] for i, _ in plan.steps]
        kept = [layer.param_propagate_down for layer in layers]
        for layer in layers:
            layer.param_propagate_down = [False] * len(layer.blobs)
        try:
            yield
        finally:
            for layer, flags in zip(layers, kept, strict=True):
                layer.param_propagate_down = flags


class _Run:
    """One gradient: which diff storages hold something, as the layers run from last to first."""

    def __init__(
        self,
        net: "Net",
        memory: GradientPass,
        plan: graph.GradientPlan,
        injected: Sequence[graph.Version],
        wanted: Sequence[graph.Version],
    ) -> None:
        self.net, self.memory, self.injected, self.wanted = net, memory, injected, wanted
        self.steps = dict(plan.steps)
        self.active: set[SyncedArray] = set()

    def body(self) -> None:
        """Run the layers and leave the gradients in `memory.wanted`."""
        self.active.clear()
        for version in self.wanted:
            device.current().fill(self.memory.wanted(version).array(self._count(version), "overwrite"), 0)
        stops = {*self.steps, *(version[0] for version in (*self.injected, *self.wanted))}
        for i in sorted(stops, reverse=True):
            for version in self.injected:
                if version[0] == i:
                    self._inject(version)
            for version in self.wanted:
                diff, count = self._diff(version), self._count(version)
                if version[0] == i and diff in self.active:
                    device.current().copy(diff.array(count), self.memory.wanted(version).array(count, "overwrite"))
            if i in self.steps:
                self._step(i, self.steps[i])

    def _step(self, i: int, propagate_down: list[bool]) -> None:
        wiring = self.net.wiring
        for top in wiring.tops[i]:
            if self.memory.diff(top) not in self.active:
                device.current().fill(self.memory.diff(top).array(self.net.blob_at(top).count, "overwrite"), 0)
        self.net.backward_layer(i, propagate_down, self.memory.diff)
        self.active -= {self.memory.diff(top) for top in wiring.tops[i]}
        self.active |= {
            self.memory.diff(blob) for blob, runs in zip(wiring.bottoms[i], propagate_down, strict=True) if runs
        }

    def _inject(self, version: graph.Version) -> None:
        diff, count = self._diff(version), self._count(version)
        value = self.memory.injected(version).array(count)
        if diff in self.active:
            total = diff.array(count, "update")
            split_backward(total, value, total)
        else:
            device.current().copy(value, diff.array(count, "overwrite"))
            self.active.add(diff)

    def _count(self, version: graph.Version) -> int:
        return self.net.blob_at(self.net.wiring.blob(version)).count

    def _diff(self, version: graph.Version) -> SyncedArray:
        return self.memory.diff(self.net.wiring.blob(version))
