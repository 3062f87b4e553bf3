"""Engines that take turns: each in a process of its own, so that no library's threads disturb the other's."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

PAUSE = 0.1
"""Seconds between turns, until the threads of the engine that had its turn have gone to sleep."""

LIBRARIES = "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"
UNSET = "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"
"""What makes NumPy's BLAS take another processor for this one; engines run without it."""


def environment(threads: int) -> dict[str, str]:
    """For a process that uses so many threads and finds this repository."""
    found = {name: value for name, value in os.environ.items() if name not in UNSET}
    root = str(Path(__file__).parent.parent)
    found["PYTHONPATH"] = os.pathsep.join([root, *filter(None, [found.get("PYTHONPATH")])])
    return found | dict.fromkeys(LIBRARIES, str(threads))


class Engine:
    """A worker process, which answers each line with a line of JSON; see benchmarks.worker and train_worker."""

    def __init__(self, worker: str, *arguments: object, threads: int, python: str = sys.executable) -> None:
        command = [python, "-W", "ignore", "-m", f"benchmarks.{worker}", *map(str, arguments)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment(threads))

    def hear(self) -> Any:
        """The next line of JSON that the worker prints."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the worker died; its error stands above")
        return json.loads(line)

    def ask(self, command: str) -> Any:
        """The worker's answer; RuntimeError where it died, whose own error stands above."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(command + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise RuntimeError("the worker died; its error stands above") from None
        return self.hear()

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


TURN = 0.3
"""Seconds that a turn should take, at least one pass."""
SLOW = 1.5
"""Seconds of a pass from which on three turns have to do."""


def take_turns(engines: Mapping[str, Engine], what: str, rounds: int) -> dict[str, dict[str, Any]]:
    """Each engine's seconds for `what`, and the least processor time of its process; one pass before warms up."""
    first = {name: min(engine.ask(f"{what} 2")) for name, engine in engines.items()}
    wall: dict[str, list[float]] = {name: [] for name in engines}
    own: dict[str, list[float]] = {name: [] for name in engines}
    for turn in range(min(rounds, 3) if max(first.values()) > SLOW else rounds):
        for name in sorted(engines, reverse=bool(turn % 2)):
            time.sleep(PAUSE)
            passes = max(1, round(TURN / first[name]))
            answer = engines[name].ask(f"{what} {passes}")
            wall[name] += answer
            own[name].append(engines[name].ask("cpu") / passes)
    return {name: summary(wall[name]) | {"cpu": ms(min(own[name])), "passes": len(wall[name])} for name in engines}


def with_ratios(found: dict[str, dict[str, Any]], ours: str = "caffepy") -> dict[str, dict[str, Any]]:
    """Ours over theirs, added to each other engine's figures: below 1 means that caffepy is faster."""
    for name, figures in found.items():
        if name != ours:
            keys = [key for key in ("median", "minimum", "cpu") if key in figures]
            figures["ratio"] = {key: round(found[ours][key] / max(figures[key], 1e-9), 3) for key in keys}
    return found


def summary(seconds: list[float]) -> dict[str, Any]:
    """Median, quartiles and minimum in ms."""
    low, median, high = statistics.quantiles(seconds, n=4) if len(seconds) > 1 else [seconds[0]] * 3
    return {"median": ms(median), "quartiles": [ms(low), ms(high)], "minimum": ms(min(seconds))}


def ms(seconds: float) -> float:
    """Milliseconds, to the microsecond."""
    return round(1e3 * seconds, 3)


def seconds_of(run: Callable[[], object], passes: int) -> list[float]:
    """Of each call."""
    found = []
    for _ in range(passes):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return found
