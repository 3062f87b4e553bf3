"""`nets`: forward, forward with the gradient of a score, and with the gradients of all weights, beside every peer."""

import math
from pathlib import Path
from typing import Any

from benchmarks import case
from benchmarks.suite import Settings, agreeing, engines, prepared
from benchmarks.turns import take_turns, with_ratios

PEERS = "torch", "torch-compile", "onnxruntime", "opencv", "caffe"


def measure(settings: Settings) -> list[dict[str, Any]]:
    """An entry for each net, batch and way: figures by engine in ms, ratios ours over theirs, differences."""
    found: list[dict[str, Any]] = []
    for net in settings.nets:
        if settings.late(f"nets: {case.title(net)}"):
            continue
        with prepared(net) as folder:
            for batch in settings.batches:
                what = f"nets: {case.title(net)}, batch {batch}"
                if not settings.late(what):
                    with settings.noting(what):
                        found += _net(net, batch, folder, settings)
    return found


def _net(net: str, batch: int, folder: Path, settings: Settings) -> list[dict[str, Any]]:
    case.write(net, batch, folder)
    what = f"{case.title(net)}, batch {batch}"
    names = ["caffepy", *(name for name in PEERS if name in settings.peers)]
    found = []
    with engines(names, folder, settings, what) as started:
        for way in settings.ways:
            able = {name: engine for name, (engine, ways) in started.items() if way in ways}
            good, differences = agreeing(able, way, folder, settings, what)
            figures = with_ratios(take_turns(good, way, settings.rounds))
            found.append(
                {"net": case.title(net), "batch": batch, "way": way, "engines": figures} | {"differences": differences}
            )
            print(line(found[-1]), flush=True)
    return found


def line(entry: dict[str, Any]) -> str:
    """The entry in a line."""
    parts = [f"{entry['net']:16} batch {entry['batch']:3} {entry['way']:9}"]
    for name, figures in entry["engines"].items():
        ratio = f" ({figures['ratio']['median']:.2f})" if "ratio" in figures else ""
        parts.append(f"{name} {figures['median']:9.2f} ms{ratio}")
    return "  ".join(parts)


def means(entries: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Geometric means of ours over theirs, by way and peer: of the medians, of the minima, and the worst median."""
    ratios: dict[str, dict[str, list[dict[str, float]]]] = {}
    for entry in entries:
        for name, figures in entry["engines"].items():
            if "ratio" in figures:
                ratios.setdefault(entry["way"], {}).setdefault(name, []).append(figures["ratio"])
    return {
        way: {
            name: {
                **{key: round(_mean([ratio[key] for ratio in found]), 3) for key in ("median", "minimum")},
                "worst": max(ratio["median"] for ratio in found),
            }
            for name, found in by_peer.items()
        }
        for way, by_peer in ratios.items()
    }


def _mean(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))
