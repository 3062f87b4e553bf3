"""The captured passes of a net on the CPU, by what identifies them."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import Any

from caffepy.blob.storage import SyncedArray
from caffepy.cpu.arena import Arena
from caffepy.cpu.captured import SUMS, CapturedPass
from caffepy.device import blas
from caffepy.device.engine import cpu_engine
from caffepy.device.governor import GOVERNOR
from caffepy.device.threads import threads
from caffepy.kernels import Kernel, observed, observing

MOST = 64
"""Kept of a net; the one not used for longest goes first."""
_VARIANTS = 4
Capture = Callable[[set[SyncedArray], int], CapturedPass]
"""Captures a pass: with what it must not leave out, and for how many threads."""


class _Timed:
    """One pass, and what it took."""

    def __init__(self, layers: frozenset[int]) -> None:
        self.layers = layers
        self.variants: list[CapturedPass] = []
        """What was captured of it; the most particular first."""
        self.best = math.inf
        """Seconds that it took at best."""

    def timed(self, run: Callable[[], object], number: int) -> None:
        """Do it with so many threads. The governor hears of passes that wait for nothing else."""
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        self.best = min(self.best, wall)
        GOVERNOR.passed(number, self.best, wall, cpu)


class _OnNumpy(_Timed):
    """One pass, operation by operation."""

    def __init__(self, layers: frozenset[int]) -> None:
        super().__init__(layers)
        self.trains = False
        """Whether it has gradients of weights, which is known when it ran once."""
        self._ran = False

    def run(self, body: Callable[[], object], number: int) -> None:
        """Do it, with so many threads at most for BLAS."""
        with blas.using_threads(number):
            if self._ran:
                self.timed(body, number)
                return
            with observed(self._note):
                body()
            self._ran = True

    def _note(self, kernel: Kernel[Any], *_: object) -> bool:
        self.trains = self.trains or kernel.name in SUMS
        return True


class _Known(_Timed):
    """One pass, captured once for each of the circumstances that it meets: numbers of threads, what others left."""

    def __init__(self, layers: frozenset[int]) -> None:
        super().__init__(layers)
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
        if not captured.fits():  # a view is alive, so that the host's values are the only ones
            captured = capture(self._wanted, captured.threads)
        self.variants = sorted([captured, *self.variants][:_VARIANTS], key=lambda v: -v.particular)
        return captured

    def run(self, capture: Capture) -> None:
        """Do it, by what has been captured if possible."""
        number = self.threads()
        if (captured := self.settled(number)) is None:
            self.capture(capture, number).run()
        else:
            self.timed(captured.run, number)


_BY_ENGINE: dict[str, type[_Known | _OnNumpy]] = {"onednn": _Known, "numpy": _OnNumpy}


class CpuPasses:
    """Runs passes: captured ones where oneDNN serves the CPU, operation by operation on NumPy otherwise."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, _Known | _OnNumpy] = OrderedDict()
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
        if observing() is not None:
            body()
            return
        engine = cpu_engine()
        if (known := self._known.get((engine, key))) is None:
            known = self._known[engine, key] = _BY_ENGINE[engine](frozenset(layers))
            if len(self._known) > MOST:
                self._known.popitem(last=False)
        self._known.move_to_end((engine, key))
        if isinstance(known, _OnNumpy):
            known.run(body, threads() if self._train() else GOVERNOR.threads(threads()))
        else:
            known.run(lambda wanted, number: CapturedPass(body, wanted, self.arena, keeps=self.keeps, threads=number))

    def _train(self) -> bool:
        """Whether one on NumPy has weights' gradients: of some products BLAS's threads decide how they are rounded."""
        return any(known.trains for known in self._known.values() if isinstance(known, _OnNumpy))

    def captured(self, what: str = "") -> list[CapturedPass]:
        """Those whose key has that word in it."""
        return [variant for key, known in self._known.items() if what in str(key) for variant in known.variants]
