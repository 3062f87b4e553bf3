"""Net.gradient: the layers between, with diffs of their own."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from caffepy import graph
from caffepy.blob import Arrays, Floats, SyncedArray, fit
from caffepy.errors import ArgumentError, StateError

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

    def remember_inputs(self, start: int, end: int) -> None:
        """Keep a copy of what the Input layers among `start` to `end` held in this forward pass."""
        net = self._net
        for i in range(start, end + 1):
            if net.layers[i].type == "Input":
                for top in net.wiring.tops[i]:
                    data = net.blob_at(top).data
                    kept = self._inputs.get(top)
                    if kept is None or kept.shape != data.shape:
                        self._inputs[top] = data.copy()
                    else:
                        np.copyto(kept, data)

    def run(
        self,
        diffs: Mapping[VersionName, Any],
        wrt: VersionName | Iterable[VersionName] | None,
        out: Mapping[VersionName, Floats],
    ) -> dict[VersionName, Floats]:
        """See Net.gradient."""
        net = self._net
        if wrt is None:
            wrt = net.inputs
        names = [wrt] if isinstance(wrt, str | tuple) else list(wrt)
        wanted = {name: self._version(name, first=True) for name in names}
        injected = [(self._version(name, first=False), name, value) for name, value in diffs.items()]
        plan = self._plan(tuple(version for version, _, _ in injected), tuple(wanted.values()))
        self._check_forward([i for i, _ in plan.steps], [version for version, _, _ in injected])
        results = {name: self._result(name, version, out) for name, version in wanted.items()}
        _Run(net, self, plan, results, wanted).run(injected)
        return results

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
            if not np.array_equal(net.blob_at(top).data, kept, equal_nan=True):
                raise StateError(
                    f"gradient: input {net.wiring.blobs[top]!r} was changed since the last forward pass; "
                    "run forward again"
                )

    def _result(self, name: VersionName, version: graph.Version, out: Mapping[VersionName, Floats]) -> Floats:
        shape = self._net.blob_at(self._net.wiring.blob(version)).shape
        if name not in out:
            return np.zeros(shape, np.float32)
        given = out[name]
        if not isinstance(given, np.ndarray) or given.dtype != np.float32 or given.shape != shape:
            found = f"{given.dtype} {given.shape}" if isinstance(given, np.ndarray) else type(given).__name__
            raise ArgumentError(f"gradient: out[{name!r}] must be a float32 array of shape {shape}, got {found}")
        given[...] = 0
        return given


class _Run:
    """One gradient: which diff storages hold something, as the layers run from last to first."""

    def __init__(
        self,
        net: "Net",
        memory: GradientPass,
        plan: graph.GradientPlan,
        results: dict[VersionName, Floats],
        wanted: dict[VersionName, graph.Version],
    ) -> None:
        self.net, self.memory, self.plan, self.results, self.wanted = net, memory, plan, results, wanted
        self.active: set[SyncedArray] = set()

    def run(self, injected: Sequence[tuple[graph.Version, VersionName, Any]]) -> None:
        """Fill `results`."""
        steps = dict(self.plan.steps)
        stops = {*steps, *(v[0] for v, _, _ in injected), *(v[0] for v in self.wanted.values())}
        values = [(v, name, fit(value, self._shape(v), f"gradient: diff of {name!r}")) for v, name, value in injected]
        with self._no_weight_gradients():
            for i in sorted(stops, reverse=True):
                for version, _, value in values:
                    if version[0] == i:
                        self._inject(version, value)
                for name, version in self.wanted.items():
                    if version[0] == i and self.memory.diff(self.net.wiring.blob(version)) in self.active:
                        np.copyto(self.results[name], self._arrays([self.net.wiring.blob(version)])[0].diff)
                if i in steps:
                    self._step(i, steps[i])

    def _step(self, i: int, propagate_down: list[bool]) -> None:
        wiring = self.net.wiring
        top, bottom = self._arrays(wiring.tops[i]), self._arrays(wiring.bottoms[i])
        for blob, arrays in zip(wiring.tops[i], top, strict=True):
            if self.memory.diff(blob) not in self.active:
                arrays.diff[...] = 0
        self.net.backward_layer(i, top, propagate_down, bottom)
        for blob in wiring.tops[i]:
            self.active.discard(self.memory.diff(blob))
        self.active.update(
            self.memory.diff(blob) for blob, runs in zip(wiring.bottoms[i], propagate_down, strict=True) if runs
        )

    def _inject(self, version: graph.Version, value: Floats) -> None:
        blob = self.net.wiring.blob(version)
        diff = self._arrays([blob])[0].diff
        if self.memory.diff(blob) in self.active:
            diff += value
        else:
            diff[...] = value
            self.active.add(self.memory.diff(blob))

    def _arrays(self, blobs: Sequence[int]) -> list[Arrays]:
        return [self.net.blob_at(blob).arrays(self.memory.diff(blob)) for blob in blobs]

    def _shape(self, version: graph.Version) -> tuple[int, ...]:
        return self.net.blob_at(self.net.wiring.blob(version)).shape

    @contextmanager
    def _no_weight_gradients(self) -> Iterator[None]:
        layers = [self.net.layers[i] for i, _ in self.plan.steps]
        kept = [layer.param_propagate_down for layer in layers]
        for layer in layers:
            layer.param_propagate_down = [False] * len(layer.blobs)
        try:
            yield
        finally:
            for layer, flags in zip(layers, kept, strict=True):
                layer.param_propagate_down = flags
