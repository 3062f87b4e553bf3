"""Training steps of caffepy beside PyTorch eager: both take turns in one run, each in a process of its own."""

import time
from importlib.util import find_spec
from typing import Any

from benchmarks.cpu import PAUSE, Engine, summary


def measure(net: str, batch: int, threads: int, rounds: int, passes: int) -> dict[str, Any]:
    """Figures of training steps: medians, quartiles and minima in ms, ours over theirs, and the losses reached."""
    names = ["caffepy", "torch"] if find_spec("torch") else ["caffepy"]
    engines = {name: Engine(name, net, batch, threads, "train_worker") for name in names}
    times: dict[str, list[float]] = {name: [] for name in engines}
    try:
        for engine in engines.values():
            engine.ask("step 2")
        for turn in range(rounds):
            for name in sorted(engines, reverse=bool(turn % 2)):
                time.sleep(PAUSE)
                times[name] += engines[name].ask(f"step {passes}")
        losses = {name: engine.ask("loss") for name, engine in engines.items()}
    finally:
        for engine in engines.values():
            engine.close()
    step: dict[str, Any] = {name: summary(seconds) for name, seconds in times.items()}
    if "torch" in step:
        ours, theirs = step["caffepy"], step["torch"]
        step["ratio"] = {key: round(ours[key] / theirs[key], 3) for key in ("median", "minimum")}
    return {"net": net, "batch": batch, "passes": rounds * passes, "step": step, "loss": losses}
