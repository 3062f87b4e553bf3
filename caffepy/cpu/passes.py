"""The captured passes of a net on the CPU, by what identifies them."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable

from caffepy.blob.storage import SyncedArray
from caffepy.cpu.arena import Arena
from caffepy.cpu.captured import CapturedPass
from caffepy.device.engine import cpu_engine
from caffepy.device.governor import GOVERNOR
from caffepy.device.threads import threads
from caffepy.kernels import observing

MOST = 64
"""Kept of a net; the one not used for longest goes first."""
_VARIANTS = 4
Capture = Callable[[set[SyncedArray], int], CapturedPass]
"""Captures a pass: with what it must not leave out, and for how many threads."""


class _Known:
    """One pass, captured once for each of the circumstances that it meets: numbers of threads, what others left."""

    def __init__(self, layers: frozenset[int]) -> None:
        self.layers = layers
        self.variants: list[CapturedPass] = []
        """The most particular first."""
        self.best = math.inf
        """Seconds that it took at best."""
        self._wanted: set[SyncedArray] = set()

    def threads(self) -> int:
        """How many it is to use: a number that the results depend on is never changed."""
        most = threads()
        return most if any(v.sums_by_threads for v in self.variants) else GOVERNOR.threads(most)

    def settled(self, number: int) -> CapturedPass | None:
        """What has been captured for these circumstances."""
        invalid = [variant for variant in self.variants if not variant.valid()]
        for variant in invalid:
            self._wanted |= variant.missed
            self.variants.remove(variant)
        return next((variant for variant in self.variants if variant.threads == number and variant.fits()), None)

    def capture(self, capture: Capture, number: int) -> CapturedPass:
        """Capture it for the circumstances that there are."""
        captured = capture(self._wanted, number)
        if captured.sums_by_threads and number != threads():
            captured = capture(self._wanted, threads())
        self.variants = sorted([captured, *self.variants][:_VARIANTS], key=lambda v: -v.particular)
        return captured

    def run(self, capture: Capture) -> None:
        """Do it, by what has been captured if possible; the governor hears of passes that wait for nothing else."""
        number = self.threads()
        if (captured := self.settled(number)) is None:
            self.capture(capture, number).run()
            return
        wall, cpu = time.perf_counter(), time.process_time()
        captured.run()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        self.best = min(self.best, wall)
        GOVERNOR.passed(number, self.best, wall, cpu)


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
        if (known := self._known.get(key)) is None:
            known = self._known[key] = _Known(frozenset(layers))
            if len(self._known) > MOST:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        known.run(lambda wanted, number: CapturedPass(body, wanted, self.arena, keeps=self.keeps, threads=number))

    def captured(self, what: str = "") -> list[CapturedPass]:
        """Those whose key has that word in it."""
        return [variant for key, known in self._known.items() if what in str(key) for variant in known.variants]
