"""`memory`: the most that a process takes, beside its peers; time and memory against batch and image size."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import case
from benchmarks.suite import Settings, engines, prepared
from benchmarks.turns import summary

PEERS = "torch", "onnxruntime", "opencv"
SCALED = "squeezenet"
"""The net whose time and memory are measured against batch and image size, because any size fits it."""
BATCHES, SIZES = (1, 2, 4, 8, 16), (128, 227, 320, 448)
PASSES = 5
"""Timed at each."""


def measure(settings: Settings) -> dict[str, list[dict[str, Any]]]:
    """MB of processes: before the net was made, with it, and the most that passes took."""
    found: dict[str, list[dict[str, Any]]] = {"nets": [], "scaling": []}
    for net in settings.nets:
        if settings.late(f"memory: {case.title(net)}"):
            continue
        with settings.noting(f"memory: {case.title(net)}"), prepared(net) as folder:
            batch = settings.batches[-1]
            case.write(net, batch, folder)
            found["nets"] += _peaks(net, batch, ("forward", "gradient"), folder, settings)
    with prepared(SCALED) as folder:
        sizes = [(batch, None) for batch in BATCHES] + [(1, size) for size in SIZES]
        for batch, size in sizes:
            if not settings.late(f"memory: {SCALED}, batch {batch}, size {size}"):
                case.write(SCALED, batch, folder, size)
                found["scaling"] += _peaks(SCALED, batch, ("gradient",), folder, settings, size)
    return found


def _peaks(
    net: str, batch: int, wanted: Sequence[str], folder: Path, settings: Settings, size: int | None = None
) -> list[dict[str, Any]]:
    """By engine, each in one process for all its ways; timed where there is one way."""
    what = f"memory of {case.title(net)}, batch {batch}"
    names = ["caffepy", "caffepy-inference", *(name for name in PEERS if name in settings.peers)]
    found = []
    for name in names if "forward" in wanted else [name for name in names if name in ("caffepy", "torch")]:
        with engines([name], folder, settings, what) as started:  # one after the other: they must not share pages
            for engine, ways in started.values():
                for way in (way for way in wanted if way in ways):
                    memory = engine.ask(f"memory {way}")
                    entry = {"net": case.title(net), "batch": batch, "size": size, "way": way, "engine": name}
                    entry["MB"] = {key: value and round(value / 1e6, 1) for key, value in memory.items()}
                    timed = {"ms": summary(engine.ask(f"{way} {PASSES}"))} if len(wanted) == 1 else {}
                    found.append(entry | timed)
                    print(f"{what}, {way}, {name}: {entry['MB']}", flush=True)
    return found
