"""Training steps of caffepy beside PyTorch eager: both take turns in one run, each in a process of its own."""

import time
from typing import Any

from benchmarks.peers import Peer
from benchmarks.turns import PAUSE, Engine, summary, with_ratios


def measure(net: str, batch: int, threads: int, rounds: int, passes: int, torch: Peer | None = None) -> dict[str, Any]:
    """Figures of training steps: medians, quartiles and minima in ms, ours over theirs, and the losses reached."""
    pythons = {"caffepy": {}} | ({"torch": {"python": torch.python}} if torch else {})
    engines = {
        name: Engine("train_worker", name, net, batch, threads, threads=threads, **python)
        for name, python in pythons.items()
    }
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
    step = with_ratios({name: summary(seconds) for name, seconds in times.items()})
    return {"net": net, "batch": batch, "passes": rounds * passes, "step": step, "loss": losses}
