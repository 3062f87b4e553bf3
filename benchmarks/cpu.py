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
    """A worker process; see benchmarks.worker and benchmarks.train_worker."""

    def __init__(self, engine: str, net: str, batch: int, threads: int, worker: str = "worker") -> None:
        environment = dict(os.environ)
        environment |= {name: str(threads) for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        command = [sys.executable, "-m", f"benchmarks.{worker}", engine, net, str(batch), str(threads)]
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


PEERS = {"torch": "torch", "onnxruntime": "onnxruntime", "opencv": "cv2"}
"""The engines that ours is compared with, and the modules that they need."""


def measure(net: str, batch: int, threads: int, rounds: int, passes: int) -> dict[str, Any]:
    """Figures of one net: per engine medians, quartiles and minima in ms, ours over theirs, and layer types' times."""
    names = ["caffepy", *(name for name, module in PEERS.items() if find_spec(module))]
    engines = {name: Engine(name, net, batch, threads) for name in names}
    try:
        return {"net": net, "batch": batch, **_compare(engines, rounds, passes)}
    finally:
        for engine in engines.values():
            engine.close()


def _compare(engines: dict[str, Engine], rounds: int, passes: int) -> dict[str, Any]:
    checks = {name: engine.ask("check") for name, engine in engines.items()}
    differences = _differences(checks)
    result: dict[str, Any] = {"passes": rounds * passes, "differences": differences}
    for what in ("forward", "gradient"):
        able = {name: engine for name, engine in engines.items() if what in checks[name]}
        for engine in able.values():
            engine.ask(f"{what} 2")
        wall: dict[str, list[float]] = {name: [] for name in able}
        own: dict[str, list[float]] = {name: [] for name in able}
        for turn in range(rounds):
            for name in sorted(able, reverse=bool(turn % 2)):
                time.sleep(PAUSE)
                wall[name] += able[name].ask(f"{what} {passes}")
                own[name] += able[name].ask(f"cpu {what} {passes}")
        result[what] = {name: summary(wall[name]) | {"cpu": _ms(min(own[name]))} for name in able}
        for name in able:
            if name != "caffepy":
                ours, theirs = result[what]["caffepy"], result[what][name]
                result[what][name]["ratio"] = {
                    key: round(ours[key] / max(theirs[key], 1e-9), 3) for key in ("median", "minimum", "cpu")
                }
    result["layers"] = _layers({name: e for name, e in engines.items() if name in ("caffepy", "torch")}, passes)
    return result


def summary(seconds: list[float]) -> dict[str, float]:
    """Median, quartiles and minimum in ms."""
    low, median, high = statistics.quantiles(seconds, n=4)
    return {"median": _ms(median), "quartiles": [_ms(low), _ms(high)], "minimum": _ms(min(seconds))}  # type: ignore[dict-item]


def _ms(seconds: float) -> float:
    return round(1e3 * seconds, 3)


def _layers(engines: dict[str, Engine], passes: int) -> dict[str, dict[str, list[float]]]:
    by_type: dict[str, dict[str, list[float]]] = {}
    for name, engine in engines.items():
        time.sleep(PAUSE)
        for kind, (forward, backward) in engine.ask(f"layers {max(passes, 5)}").items():
            by_type.setdefault(kind, {})[name] = [round(1e3 * forward, 3), round(1e3 * backward, 3)]
    return dict(sorted(by_type.items(), key=lambda item: -sum(item[1].get("caffepy", [0]))))


def _differences(checks: dict[str, dict[str, list[float]]]) -> dict[str, float]:
    """By peer, the largest relative difference from ours, of the sums of sizes and of squares of its results."""
    ours = checks["caffepy"]
    return {
        name: max(
            abs(a - b) / max(abs(b), 1e-30)
            for what, sums in theirs.items()
            for a, b in zip(ours[what][1:], sums[1:], strict=True)
        )
        for name, theirs in checks.items()
        if name != "caffepy"
    }
