"""How many threads pay, judged by how passes went: fewer beside busy neighbours, until more of them pay again."""

import threading
from dataclasses import dataclass

PASSES, SECONDS, LONG = 4, 0.03, 1.0
"""A window is so many passes and so much time, or so much time of however few passes."""
SLOW, SPARE, IDLE = 1.3, 0.8, 0.6
"""Crowded: passes take so many times their best with such a share of their processors' time; or with such a share."""
GAIN = 0.9
"""What fewer threads, or more, must make of the time to stay."""
HOPELESS = 2.0
"""A trial that takes so many times as long as what was before it ends at once."""
SOON, REST, BUDGET = 2, 8, 0.05
"""A number that was settled on is kept for so many windows' time, a lower one for the fewer, since neighbours may have
come for a moment; and until trials have cost only this share of it."""


@dataclass
class Window:
    """Passes with the same number of threads, together."""

    passes: int = 0
    expected: float = 0.0
    """Seconds that they take at best."""
    spent: float = 0.0
    """Seconds that they took."""
    cpu: float = 0.0
    """Seconds of processors that the process got meanwhile."""

    @property
    def full(self) -> bool:
        """Whether they are enough to judge by."""
        return self.spent >= LONG or (self.passes >= PASSES and self.spent >= SECONDS)

    @property
    def slowness(self) -> float:
        """How many times as long as at best."""
        return self.spent / self.expected


class Governor:
    """Tells how many threads to use from how passes went that used them; it measures nothing itself.

    It halves the number when passes are crowded, and doubles it again from time to time; either is a trial, which lasts
    only if passes then take less time. Passes of any length may be mixed: each counts by its own best time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._most = 0
        self._start()

    def _start(self) -> None:
        self._halved = 0
        self._before: int | None = None
        """During a trial, how often the number was halved before it."""
        self._slowness: dict[int, float] = {}
        self._window = Window()
        self._wait = {1: 0.0, -1: 0.0}
        """Seconds to be spent in passes before the number is halved on trial, or doubled."""

    def threads(self, most: int) -> int:
        """How many to use of `most`."""
        if most != self._most:
            with self._lock:
                self._most = most
                self._start()
        return max(1, most >> self._halved)

    def passed(self, threads: int, best: float, wall: float, cpu: float) -> None:
        """Take notice of a pass.

        threads   that it used
        best      seconds that the same pass took at best, this time included, with any number of threads
        wall      seconds that it took
        cpu       seconds of processors that the process got meanwhile
        """
        with self._lock:
            if threads != max(1, self._most >> self._halved) or best <= 0:
                return
            window = self._window
            window.passes += 1
            window.expected += best
            window.spent += wall
            window.cpu += cpu
            hopeless = self._before is not None and window.slowness > HOPELESS * self._slowness[self._before]
            if window.full or hopeless:
                self._window = Window()
                self._judge(window, threads)

    def _judge(self, window: Window, threads: int) -> None:
        self._slowness[self._halved] = window.slowness
        if self._before is not None:
            self._end_trial(window, self._before)
            return
        for direction in self._wait:
            self._wait[direction] -= window.spent
        share = window.cpu / (window.spent * threads)
        crowded = share < IDLE or (window.slowness > SLOW and share < SPARE)
        if threads > 1 and crowded and self._wait[1] <= 0:
            self._try(1)
        elif self._halved and self._wait[-1] <= 0:
            self._try(-1)

    def _try(self, direction: int) -> None:
        self._before = self._halved
        self._halved += direction

    def _end_trial(self, window: Window, before: int) -> None:
        direction, known = self._halved - before, self._slowness[before]
        self._before = None
        if window.slowness < GAIN * known:
            self._wait = {direction: 0.0, -direction: (SOON if direction > 0 else REST) * window.spent}
        else:
            self._halved = before
            lost = window.spent - known * window.expected
            self._wait[direction] = max(REST * window.spent, lost / BUDGET)


GOVERNOR = Governor()
"""The process's: its neighbours are those of all its nets."""
