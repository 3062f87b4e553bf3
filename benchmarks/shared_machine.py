"""`shared-machine`: how much slower a forward pass becomes beside four busy processes, for us and for PyTorch."""

import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from benchmarks import case
from benchmarks.suite import Settings, engines, prepared
from benchmarks.turns import PAUSE, Engine, summary

SMALL = "squeezenet", "googlenet"
"""Nets whose passes are many and short, so that waiting for a thread shows; of those asked for, these are enough."""
NEIGHBOURS = 4
SECONDS = 1.5
"""Of each turn, long enough for an engine to notice its neighbours and to settle."""


def measure(settings: Settings) -> list[dict[str, Any]]:
    """By net: figures of each engine alone and beside the others in ms, and ours over theirs of the slowdowns."""
    found = []
    names = ["caffepy", *(["torch"] if "torch" in settings.peers else [])]
    for net in [net for net in settings.nets if net in SMALL] or settings.nets:
        if settings.late(f"shared-machine: {case.title(net)}"):
            continue
        with settings.noting(f"shared-machine: {case.title(net)}"), prepared(net) as folder:
            case.write(net, 1, folder)
            with engines(names, folder, settings, f"shared-machine: {case.title(net)}") as started:
                entry = _net({name: engine for name, (engine, _) in started.items()}, min(3, settings.rounds))
            found.append({"net": case.title(net)} | entry)
            print(line(found[-1]), flush=True)
    return found


def _net(started: dict[str, Engine], rounds: int) -> dict[str, Any]:
    first = {name: min(engine.ask("forward 5")) for name, engine in started.items()}
    times: dict[str, dict[str, list[float]]] = {name: {"alone": [], "beside": []} for name in started}
    for turn in range(rounds):
        for name in sorted(started, reverse=bool(turn % 2)):
            for how in ("alone", "beside"):
                with neighbours(NEIGHBOURS if how == "beside" else 0):
                    time.sleep(PAUSE)
                    times[name][how] += _turn(started[name], first[name])
    figures: dict[str, Any] = {
        name: {how: summary(seconds) for how, seconds in of.items()}
        | {"slowdown": round(statistics.median(of["beside"]) / statistics.median(of["alone"]), 2)}
        for name, of in times.items()
    }
    if "torch" in figures:
        figures["ratio of slowdowns"] = round(figures["caffepy"]["slowdown"] / figures["torch"]["slowdown"], 2)
    return figures


def _turn(engine: Engine, first: float) -> list[float]:
    """Passes for so many seconds, however slow they have become."""
    found: list[float] = []
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        found += engine.ask(f"forward {max(1, round(0.05 / first))}")
    return found


@contextlib.contextmanager
def neighbours(number: int) -> Iterator[None]:
    """So many processes that do nothing but keep a core busy."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def line(entry: dict[str, Any]) -> str:
    """The entry in a line."""
    parts = [f"{entry['net']:16}"]
    for name, of in entry.items():
        if isinstance(of, dict):
            medians = of["alone"]["median"], of["beside"]["median"]
            parts.append(f"{name} {medians[0]:.1f} -> {medians[1]:.1f} ms, {of['slowdown']:.2f} times")
    return "  ".join([*parts, f"ratio {entry.get('ratio of slowdowns')}"])
