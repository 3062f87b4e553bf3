"""Saliency methods beside Captum and pytorch-grad-cam: images a second, and the most memory that their processes take.

Every run is a process of its own, so that its peak is its own; engines take turns. Without the others' packages the
times are caffepy's alone.
"""

import json
import statistics
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from benchmarks import saliency_worker
from benchmarks.turns import environment

PEERS = {"captum": "captum", "grad-cam": "pytorch_grad_cam"}
"""The engine's name, and its package."""


def measure(
    net: str, method: str, threads: int, rounds: int, passes: int, pythons: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """By engine: the median of images a second and the greatest peaks in MB, the process's; ratios to the peers.

    `pythons` are the interpreters that have the peers; by default this one is asked for them.
    """
    if pythons is None:
        pythons = {peer: sys.executable for peer in PEERS if _there(peer)}
    engines = ["caffepy", *(peer for peer in PEERS if method in saliency_worker.METHODS_OF[peer] and peer in pythons)]
    runs: dict[str, list[dict[str, float]]] = {engine: [] for engine in engines}
    for turn in range(rounds):
        for engine in sorted(engines, reverse=bool(turn % 2)):
            python = pythons.get(engine, sys.executable)
            runs[engine].append(_run(python, engine, net, method, threads, passes))
    found: dict[str, Any] = {"net": net, "method": method}
    for engine, of_engine in runs.items():
        seconds = statistics.median(run["seconds"] for run in of_engine)
        found[engine] = {
            "images_per_second": round(1 / seconds, 4),
            "peak_mb": round(max(run["peak_mb"] for run in of_engine), 1),
            "added_mb": round(max(run["added_mb"] for run in of_engine), 1),
        }
    for peer in engines[1:]:
        ours, theirs = found["caffepy"], found[peer]
        found[peer]["time_ratio"] = round(theirs["images_per_second"] / ours["images_per_second"], 3)
        found[peer]["memory_ratio"] = round(ours["peak_mb"] / theirs["peak_mb"], 3)
    return found


def line(found: dict[str, Any]) -> str:
    """The result in a line."""
    parts = [f"{found['net']:12} {found['method']:32}"]
    for engine in ("caffepy", *PEERS):
        if engine in found:
            of = found[engine]
            parts.append(f"{engine} {of['images_per_second']:8.3f}/s {of['peak_mb']:8.1f} MB")
            if "time_ratio" in of:
                parts.append(f"time {of['time_ratio']:.2f}x memory {of['memory_ratio']:.2f}x")
    return "  ".join(parts)


def _there(peer: str) -> bool:
    return find_spec("torch") is not None and find_spec(PEERS[peer]) is not None


def _run(python: str, engine: str, net: str, method: str, threads: int, passes: int) -> dict[str, float]:
    command = [python, "-W", "ignore", "-m", "benchmarks.saliency_worker"]
    arguments = [engine, net, method, str(threads), str(passes)]
    output = subprocess.run(
        [*command, *arguments], env=environment(threads), stdout=subprocess.PIPE, check=True, text=True
    )
    answer: dict[str, float] = json.loads(output.stdout.splitlines()[-1])
    return answer
