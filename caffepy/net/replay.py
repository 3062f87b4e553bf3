"""Passes captured and replayed: on a GPU run once before, on the CPU not even once."""

import functools
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

from caffepy import device
from caffepy.blob.storage import Trace
from caffepy.cpu.passes import CpuPasses
from caffepy.kernels import compile_ahead, precision
from caffepy.net.fusion import fused

MOST = 64
"""Captured passes that a net keeps; the one not used for longest goes first."""


@dataclass
class _Pass:
    layers: frozenset[int]
    trace: Trace
    gpu: device.Gpu
    graph: device.Graph | None = None


class Replay:
    """The captured passes of a net, by what identifies them, on a stream of its own."""

    def __init__(self) -> None:
        self._passes: OrderedDict[Hashable, _Pass] = OrderedDict()
        self.on_cpu = CpuPasses()
        self._stream: tuple[device.Gpu, object] | None = None

    def clear(self) -> None:
        """Forget every pass: memory has been exchanged."""
        self._passes.clear()
        self.on_cpu.clear()

    def forget(self, layer: int) -> None:
        """Forget the passes that the layer is part of: its shapes have changed."""
        for key in [key for key, known in self._passes.items() if layer in known.layers]:
            del self._passes[key]
        self.on_cpu.forget(layer)

    def run(self, key: Hashable, layers: Iterable[int], body: Callable[[], None]) -> None:
        """Do what `body` does: on a GPU by calling it the first time, by its captured graph afterwards.

        `body` launches operations of these layers on arrays of storages and nothing else that matters; whatever it
        allocates is there after the first call, so that the second can be captured.
        """
        running = device.current()
        if isinstance(running, device.Cpu):
            self.on_cpu.run(key, layers, body)
            return
        if self._stream is None or self._stream[0] is not running:
            self._stream = running, running.stream()
        with running.ordered(self._stream[1]):
            self._run(running, (key, precision.current()), layers, functools.partial(fused, body))

    def _run(self, running: device.Gpu, key: Hashable, layers: Iterable[int], body: Callable[[], None]) -> None:
        known = self._passes.get(key)
        if known is None or known.gpu is not running or not known.trace.stands():
            compile_ahead(body)
            trace = Trace()
            with trace:
                body()
            self._passes[key] = _Pass(frozenset(layers), trace, running)
            self._passes.move_to_end(key)
            if len(self._passes) > MOST:
                self._passes.popitem(last=False)
            return
        self._passes.move_to_end(key)
        known.trace.ready(running)
        if known.graph is None:
            known.graph = running.capture(body)
        known.graph.launch()
