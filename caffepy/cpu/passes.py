"""The captured passes of a net on the CPU, by what identifies them."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field

from caffepy.blob.storage import SyncedArray
from caffepy.cpu.arena import Arena
from caffepy.cpu.captured import CapturedPass
from caffepy.device.engine import cpu_engine
from caffepy.kernels import observing

MOST = 64
"""Kept of a net; the one not used for longest goes first."""


@dataclass
class _Known:
    layers: frozenset[int]
    captured: CapturedPass
    wanted: set[SyncedArray] = field(default_factory=set)


class CpuPasses:
    """Runs passes: captured ones where oneDNN serves the CPU, operation by operation on NumPy otherwise."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, _Known] = OrderedDict()
        self.arena = Arena()
        self.keeps = True
        """Whether backward passes may want what forward passes know."""

    def clear(self) -> None:
        """Forget every pass."""
        self._known.clear()

    def forget(self, layer: int) -> None:
        """Forget the passes that the layer is part of."""
        for key in [key for key, known in self._known.items() if layer in known.layers]:
            del self._known[key]

    def run(self, key: Hashable, layers: Iterable[int], body: Callable[[], object]) -> None:
        """Do what `body` does; operation by operation, too, where somebody observes them."""
        if cpu_engine() == "numpy" or observing() is not None:
            body()
            return
        known = self._known.get(key)
        if known is None or not known.captured.stands():
            wanted = set() if known is None else known.wanted | known.captured.missed
            known = self._known[key] = _Known(
                frozenset(layers), CapturedPass(body, wanted, self.arena, keeps=self.keeps), wanted
            )
            if len(self._known) > MOST:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        known.captured.run()

    def captured(self, what: str = "") -> list[CapturedPass]:
        """Those whose key has that word in it."""
        return [known.captured for key, known in self._known.items() if what in str(key)]
