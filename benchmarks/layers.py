"""`layers`: every layer by itself, forward and backward to its bottoms, beside PyTorch and the ceilings."""

import json
import subprocess
import sys
from typing import Any

from benchmarks import case
from benchmarks.suite import Settings, engines, prepared
from benchmarks.turns import environment

RUNS = 7
"""Of a layer, whose median counts; the engines take two turns, the better of which does. The first batch is enough."""


def measure(settings: Settings) -> dict[str, Any]:
    """Milliseconds, operations and bytes of each layer of each net, and what the machine can do."""
    command = [sys.executable, "-m", "benchmarks.ceilings", str(settings.threads)]
    output = subprocess.run(
        command, stdout=subprocess.PIPE, check=True, text=True, env=environment(settings.threads)
    ).stdout
    found: dict[str, Any] = {"ceilings": json.loads(output), "layers": []}
    print(f"ceilings: {found['ceilings']}", flush=True)
    names = ["caffepy", *(["torch"] if "torch" in settings.peers else [])]
    for net in settings.nets:
        if settings.late(f"layers: {case.title(net)}"):
            continue
        with settings.noting(f"layers: {case.title(net)}"), prepared(net) as folder:
            for batch in settings.batches[:1]:
                case.write(net, batch, folder)
                what = f"layers of {case.title(net)}, batch {batch}"
                with engines(names, folder, settings, what) as started:
                    turns = {
                        name: [engine.ask(f"layers {RUNS}") for _ in range(2)] for name, (engine, _) in started.items()
                    }
                head = {"net": case.title(net), "batch": batch}
                found["layers"] += [head | entry for entry in joined(turns)]
        for line in lines(by_type([entry for entry in found["layers"] if entry["net"] == case.title(net)])):
            print(f"{case.title(net):16} {line}", flush=True)
    return found


def joined(turns: dict[str, list[dict[str, dict[str, Any]]]]) -> list[dict[str, Any]]:
    """By layer, ours beside theirs; a Scale that PyTorch folds into a BatchNorm counts as that one's part."""
    entries: list[dict[str, Any]] = []
    scaled: dict[str, Any] | None = None
    for name, layer in turns["caffepy"][0].items():
        times = {
            engine: _best([turn[name]["ms"] for turn in of_engine if name in turn])
            for engine, of_engine in turns.items()
        }
        if layer["type"] == "Scale" and scaled is not None and times.get("torch") is None:
            for key in ("flops", "bytes"):
                scaled[key] = _sums(scaled[key], layer[key])
            scaled["ms"]["caffepy"] = _sums(scaled["ms"]["caffepy"], times["caffepy"])
            continue
        scaled = None
        if any(layer["ms"]) and layer["type"] not in ("Input", "Split"):
            entries.append(
                {"layer": name, "type": layer["type"], "ms": times} | {key: layer[key] for key in ("flops", "bytes")}
            )
            scaled = entries[-1] if layer["type"] == "BatchNorm" else None
    return entries


def by_type(layers: list[dict[str, Any]]) -> dict[str, dict[str, list[float]]]:
    """Sums of milliseconds by layer type, engine and way, of layers that all engines have; the slowest type first."""
    sums: dict[str, dict[str, list[float]]] = {}
    for entry in layers:
        if all(entry["ms"].values()):
            of_type = sums.setdefault(entry["type"], {})
            for engine, times in entry["ms"].items():
                of_type[engine] = _sums(of_type.get(engine, [0.0, 0.0]), times)
    return dict(sorted(sums.items(), key=lambda item: -sum(item[1]["caffepy"])))


def lines(sums: dict[str, dict[str, list[float]]]) -> list[str]:
    """A line for each type."""
    found = []
    for kind, engines_of in sums.items():
        cells = [f"{name} {forward:9.2f} + {backward:9.2f} ms" for name, (forward, backward) in engines_of.items()]
        if len(engines_of) == 2:
            ours, theirs = (sum(times) for times in engines_of.values())
            cells.append(f"ratio {ours / max(theirs, 1e-9):.2f}")
        found.append(f"{kind:14} {'  '.join(cells)}")
    return found


def _best(turns: list[list[float | None]]) -> list[float | None] | None:
    if not turns:
        return None
    ways = zip(*turns, strict=True)
    return [min((t for t in way if t is not None), default=None) for way in ways]


def _sums(a: list[Any], b: list[Any] | None) -> list[Any]:
    return [(x or 0) + (y or 0) for x, y in zip(a, b or (0, 0), strict=True)]


def floor(entry: dict[str, Any], ceilings: dict[str, float]) -> float:
    """Milliseconds that both ways take at least by the machine's ceilings."""
    return sum(
        1e3 * max((flops or 0) / (1e9 * ceilings["GFLOP/s"]), (moved or 0) / (1e9 * ceilings["GB/s"]))
        for flops, moved in zip(entry["flops"], entry["bytes"], strict=True)
    )


def bound(entries: list[dict[str, Any]], ceilings: dict[str, float]) -> str:
    """Whether products or memory traffic take longer by the ceilings, all these layers together."""
    flops, moved = (sum(x or 0 for entry in entries for x in entry[key]) for key in ("flops", "bytes"))
    return "products" if flops / ceilings["GFLOP/s"] > moved / ceilings["GB/s"] else "memory"
