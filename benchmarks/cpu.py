"""caffepy beside PyTorch eager on the CPU: both take turns in one run, each in a process of its own."""

import json
import os
import statistics
import subprocess
import sys
import time
from importlib.util import find_spec
from typing import Any

PAUSE = 0.1
"""Seconds between turns, until the threads of the engine that had its turn have gone to sleep."""


class Engine:
    """A worker process; see benchmarks.worker."""

    def __init__(self, engine: str, net: str, batch: int, threads: int) -> None:
        environment = dict(os.environ)
        environment |= {name: str(threads) for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        command = [sys.executable, "-m", "benchmarks.worker", engine, net, str(batch), str(threads)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)

    def ask(self, command: str) -> Any:
        """The worker's answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker died at {command!r}; its error stands above")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def measure(net: str, batch: int, threads: int, rounds: int, passes: int) -> dict[str, Any]:
    """Figures of one net: per engine the medians and minima in ms, their ratio, and both per layer type."""
    names = ["caffepy", "torch"] if find_spec("torch") else ["caffepy"]
    engines = {name: Engine(name, net, batch, threads) for name in names}
    try:
        return {"net": net, "batch": batch, **_compare(engines, rounds, passes)}
    finally:
        for engine in engines.values():
            engine.close()


def _compare(engines: dict[str, Engine], rounds: int, passes: int) -> dict[str, Any]:
    checks = {name: engine.ask("check") for name, engine in engines.items()}
    times: dict[str, dict[str, list[float]]] = {
        what: {name: [] for name in engines} for what in ("forward", "gradient")
    }
    for what, by_engine in times.items():
        for engine in engines.values():
            engine.ask(f"{what} 2")
        for turn in range(rounds):
            for name in sorted(engines, reverse=bool(turn % 2)):
                time.sleep(PAUSE)
                by_engine[name] += engines[name].ask(f"{what} {passes}")
    result: dict[str, Any] = {"passes": rounds * passes}
    for what, by_engine in times.items():
        result[what] = {name: _summary(seconds) for name, seconds in by_engine.items()}
        if "torch" in by_engine:
            result[what]["ratio"] = _ratios(result[what])
    result["layers"] = _layers(engines, passes)
    if "torch" in engines:
        result["difference"] = _difference(checks["caffepy"], checks["torch"])
    return result


def _summary(seconds: list[float]) -> dict[str, float]:
    return {"median": round(1e3 * statistics.median(seconds), 3), "minimum": round(1e3 * min(seconds), 3)}


def _ratios(summaries: dict[str, dict[str, float]]) -> dict[str, float]:
    return {key: round(value / summaries["torch"][key], 3) for key, value in summaries["caffepy"].items()}


def _layers(engines: dict[str, Engine], passes: int) -> dict[str, dict[str, list[float]]]:
    by_type: dict[str, dict[str, list[float]]] = {}
    for name, engine in engines.items():
        time.sleep(PAUSE)
        for kind, (forward, backward) in engine.ask(f"layers {max(passes, 5)}").items():
            by_type.setdefault(kind, {})[name] = [round(1e3 * forward, 3), round(1e3 * backward, 3)]
    return dict(sorted(by_type.items(), key=lambda item: -sum(item[1].get("caffepy", [0]))))


def _difference(first: list[float], second: list[float]) -> float:
    """The largest relative difference between the gradients' sums of sizes and of squares."""
    return max(abs(a - b) / max(abs(b), 1e-30) for a, b in zip(first[1:], second[1:], strict=True))
