"""What each layer of a net costs: time, products and memory traffic, beside what the device could do."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from caffepy import device
from caffepy.blob import SyncedArray
from caffepy.cpu.passes import CpuPasses
from caffepy.device.engine import cpu_engine_reason
from caffepy.device.threads import threads
from caffepy.errors import StateError, visible
from caffepy.kernels import Kernel, observed
from caffepy.net import plans
from caffepy.net.execution import Execution
from caffepy.net.gradient import no_weight_gradients


@dataclass(frozen=True)
class Ceilings:
    """The most that a device can do in a second."""

    title: str
    flops: float
    """Floating-point operations in float32, a fused multiply-add being two."""
    bytes: float
    """Read and written in its memory."""


H200 = Ceilings("NVIDIA H200", 67e12, 4.3e12)
"""Copying as measured on one, products as its clock allows; for profiles made without a GPU."""

Bodies = dict[int, Callable[[], object]]
"""What each layer runs, by its index."""
_COPIED = 1 << 28  # bytes, several times a GPU's cache


@dataclass(frozen=True)
class Cost:
    """One pass of one layer."""

    ms: float | None
    """None where nothing was measured."""
    flops: int
    """Of products: convolutions and inner products."""
    bytes: int
    """Read and written if every element is moved once."""
    launches: int
    """Kernels on a GPU."""

    def floor(self, ceilings: Ceilings) -> float:
        """Milliseconds that the pass takes at least."""
        return 1e3 * max(self.flops / ceilings.flops, self.bytes / ceilings.bytes)

    def __add__(self, other: "Cost") -> "Cost":
        ms = None if self.ms is None or other.ms is None else self.ms + other.ms
        return Cost(ms, self.flops + other.flops, self.bytes + other.bytes, self.launches + other.launches)


@dataclass(frozen=True)
class LayerCost:
    """One layer, forward and backward to its bottoms; None where backward does not come by."""

    name: str
    type: str
    forward: Cost
    backward: Cost | None


@dataclass(frozen=True)
class Profile:
    """A net's layers in their order. `print` it for a table."""

    device: str
    ceilings: Ceilings | None
    """None on a CPU, whose are not known."""
    layers: list[LayerCost]
    refused: dict[str, int] = field(default_factory=dict)
    """Operations that oneDNN computes in general but not as they are called here, and how often; NumPy did."""

    @property
    def forward(self) -> Cost:
        """All layers together."""
        return sum((layer.forward for layer in self.layers), _nothing(self.layers))

    @property
    def backward(self) -> Cost:
        """All layers together, to the net's inputs."""
        return sum((layer.backward for layer in self.layers if layer.backward), _nothing(self.layers))

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        rows = [(visible(layer.name), layer.type, layer.forward, layer.backward) for layer in self.layers]
        rows.append(("total", "", self.forward, self.backward))
        columns = [column for column in _COLUMNS if column.value(self.forward, self.ceilings) is not None]
        head = " ".join(f"{column.title:>{column.width}}" for column in columns)
        names, types = max(len(row[0]) for row in rows), max(len(row[1]) for row in rows)
        lines = [self.device, f"{'':{names}} {'':{types}}  {'forward':{len(head)}}   backward"]
        lines.append(f"{'layer':{names}} {'type':{types}}  {head}   {head}")
        for name, kind, *costs in rows:
            cells = (" ".join(column.cell(cost, self.ceilings) for column in columns) for cost in costs)
            lines.append(f"{name:{names}} {kind:{types}}  {'   '.join(cells)}".rstrip())
        if self.ceilings:
            gflops, gbytes = self.ceilings.flops / 1e9, self.ceilings.bytes / 1e9
            lines.append(f"floor, share: of {self.ceilings.title}, {gflops:.0f} GFLOP/s and {gbytes:.0f} GB/s")
        if self.refused:
            listed = ", ".join(f"{name} {count} times" for name, count in sorted(self.refused.items()))
            lines.append(f"by NumPy, because oneDNN has nothing for them: {listed}")
        return "\n".join(lines)


@dataclass(frozen=True)
class _Column:
    title: str
    width: int
    form: str
    value: Callable[[Cost, Ceilings | None], float | None]

    def cell(self, cost: Cost | None, ceilings: Ceilings | None) -> str:
        value = None if cost is None else self.value(cost, ceilings)
        return " " * self.width if value is None else f"{value:{self.width}{self.form}}"


_COLUMNS = (
    _Column("ms", 9, ".4f", lambda cost, _: cost.ms),
    _Column("floor", 8, ".4f", lambda cost, ceilings: cost.floor(ceilings) if ceilings else None),
    _Column("share", 6, ".0%", lambda cost, ceilings: cost.floor(ceilings) / cost.ms if ceilings and cost.ms else None),
    _Column("GFLOP/s", 8, ".0f", lambda cost, _: cost.flops / cost.ms / 1e6 if cost.ms else None),
    _Column("GB/s", 7, ".0f", lambda cost, _: cost.bytes / cost.ms / 1e6 if cost.ms else None),
    _Column("MFLOP", 9, ".1f", lambda cost, _: cost.flops / 1e6),
    _Column("MB", 8, ".2f", lambda cost, _: cost.bytes / 1e6),
    _Column("kernels", 7, "d", lambda cost, ceilings: cost.launches if ceilings else None),
)


def _nothing(layers: list[LayerCost]) -> Cost:
    return Cost(0.0 if all(layer.forward.ms is not None for layer in layers) else None, 0, 0, 0)


def measure(execution: Execution, times: int, *, dry: bool) -> Profile:
    """See Net.profile."""
    if execution.turns is not None and not dry:
        raise StateError('a profile runs layer by layer, which memory="inference" does not allow')
    last = len(execution.layers) - 1
    execution.forward(0, last)
    kept = [[blob.data.copy() for blob in layer.blobs] if layer.updates_weights else [] for layer in execution.layers]
    forward: Bodies = {i: partial(execution.forward_layer, i) for i in range(last + 1)}
    backward = _backward_bodies(execution)
    costs = [{i: _work(execution.on_host(i), body) for i, body in bodies.items()} for bodies in (forward, backward)]
    passes = CpuPasses()
    if not dry:
        execution.forward(0, last)  # counted layers have run over each other's results
        for bodies, found in ((forward, costs[0]), (backward, costs[1])):
            for i, body in bodies.items():
                found[i] = replace(found[i], ms=_time(execution.on_host(i), body, times, passes))
    for layer, arrays in zip(execution.layers, kept, strict=True):
        for blob, data in zip(layer.blobs, arrays, strict=False):
            blob.data[...] = data
    if not dry:
        execution.forward(0, last)  # layers in place have run over their own results
    layers = [
        LayerCost(layer.name, layer.type, costs[0][i], costs[1].get(i)) for i, layer in enumerate(execution.layers)
    ]
    if dry:
        return Profile("dry: nothing was measured", H200, layers)
    refused = Counter(name for captured in passes.captured() for name in captured.declined)
    return Profile(*_device(), layers, dict(refused))


def _backward_bodies(execution: Execution) -> Bodies:
    """By layer, where the gradient of the outputs with respect to the inputs comes by, in its order."""
    wiring = execution.wiring
    outputs = tuple(wiring.versions(wiring.index(name))[-1] for name in wiring.outputs)
    inputs = tuple(wiring.versions(wiring.index(name))[0] for name in wiring.inputs)
    plan = plans.plan_gradient(wiring, execution.facts, outputs, inputs)
    diffs: dict[SyncedArray, SyncedArray] = {}

    def diff_of(blob: int) -> SyncedArray:
        return diffs.setdefault(execution.blobs[blob].diff_storage, SyncedArray())

    def body(i: int, propagate_down: Sequence[bool]) -> None:
        with no_weight_gradients([execution.layers[i]]):
            execution.backward_layer(i, propagate_down, diff_of)

    for i, _ in plan.steps:
        for top in wiring.tops[i]:
            device.current().fill(diff_of(top).array(execution.blobs[top].whole_count, "overwrite"), 1)
    return {i: partial(body, i, propagate_down) for i, propagate_down in plan.steps}


def _work(on_host: bool, body: Callable[[], object]) -> Cost:
    """What the layer's operations do, counted without running them."""
    flops, moved, launches = 0, 0, 0

    def note(kernel: Kernel[Any], args: Any, constants: Mapping[str, Any]) -> bool:
        nonlocal flops, moved, launches
        work = kernel.work(*args, **constants)
        flops, moved = flops + work[0], moved + work[1]
        launches += len(kernel.launches(*args, **constants))
        return False

    if not on_host:
        with observed(note):
            body()
    return Cost(None, flops, moved, launches)


def _time(on_host: bool, body: Callable[[], object], times: int, passes: CpuPasses) -> float | None:
    """Milliseconds of one run."""
    running = device.current()
    if not times:
        return None
    if on_host:
        return _on_host(body, times)
    if not isinstance(running, device.Cpu):
        return _on_gpu(running, body, times)
    captured = partial(passes.run, object(), (), body)
    captured()
    return _on_host(captured, times)


def _on_host(body: Callable[[], object], times: int) -> float:
    found = []
    for _ in range(times):
        start = time.perf_counter()
        body()
        found.append(1e3 * (time.perf_counter() - start))
    return float(np.median(found))


def _on_gpu(running: device.Gpu, body: Callable[[], object], times: int) -> float:
    """By events around `times` replays of the captured body, so that the host's own time does not show."""
    with running.ordered(running.stream()):
        body()
        captured = running.capture(body)
        captured.launch()

        def replays() -> None:
            for _ in range(times):
                captured.launch()

        return running.elapsed(replays) / times


def _device() -> tuple[str, Ceilings | None]:
    running = device.current()
    if isinstance(running, device.Cpu):
        return f"CPU: {cpu_engine_reason()}, {threads()} thread(s)", None
    source, target = (running.zeros(_COPIED // 4, np.float32) for _ in range(2))
    fastest = min(running.elapsed(lambda: running.copy(source, target)) for _ in range(5))
    return running.title, Ceilings(running.title, running.peak_flops, 2e3 * _COPIED / fastest)
