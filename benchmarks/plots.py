"""Plots of a result: bars by net, the layers under the machine's roof, time and memory against batch and image size."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np

from benchmarks.peers import TITLES

COLORS = dict(zip(TITLES, plt.get_cmap("tab10").colors, strict=False))  # type: ignore[attr-defined]


def draw(suites: dict[str, dict[str, Any]], folder: Path) -> dict[str, Path]:
    """Those plots whose suites there are, as PNG, by suite."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    if "nets" in suites:
        found["nets"] = _saved(bars(suites["nets"]["result"]), folder / "nets.png")
    if "layers" in suites:
        found["layers"] = _saved(roofline(suites["layers"]["result"]), folder / "roofline.png")
    if "memory" in suites and suites["memory"]["result"]["scaling"]:
        found["memory"] = _saved(scaling(suites["memory"]["result"]["scaling"]), folder / "scaling.png")
    return found


def bars(entries: list[dict[str, Any]]) -> Any:
    """For each way, times of all engines by net and batch, ours being 1."""
    ways = list(dict.fromkeys(entry["way"] for entry in entries))
    figure, axes = plt.subplots(len(ways), 1, figsize=(9, 2.6 * len(ways)), squeeze=False, layout="constrained")
    for axis, way in zip(axes[:, 0], ways, strict=True):
        rows = [entry for entry in entries if entry["way"] == way]
        names = [name for name in TITLES if any(name in entry["engines"] for entry in rows)]
        for i, name in enumerate(names):
            places = [j for j, entry in enumerate(rows) if name in entry["engines"]]
            heights = [rows[j]["engines"][name]["median"] / rows[j]["engines"]["caffepy"]["median"] for j in places]
            width = 0.8 / len(names)
            axis.bar(np.array(places) + (i + 0.5) * width - 0.4, heights, width, label=TITLES[name], color=COLORS[name])
        axis.axhline(1, color="black", linewidth=0.6)
        axis.set_xticks(range(len(rows)), [f"{entry['net']}\nbatch {entry['batch']}" for entry in rows], fontsize=6)
        axis.set_ylabel(f"{way}\ntime / caffepy's")
        axis.legend(fontsize=7, ncols=len(names), loc="lower right", bbox_to_anchor=(1, 1))
    return figure


def roofline(result: dict[str, Any]) -> Any:
    """GFLOP/s of each layer with products against its operations a byte, under the ceilings."""
    ceilings = result["ceilings"]
    figure, axis = plt.subplots(figsize=(8, 5), layout="constrained")
    for kind in ("Convolution", "InnerProduct"):
        for way, marker in ((0, "o"), (1, "x")):
            found = [entry for entry in result["layers"] if entry["type"] == kind]
            points = [
                (entry["flops"][way] / entry["bytes"][way], 1e-6 * entry["flops"][way] / entry["ms"]["caffepy"][way])
                for entry in found
                if entry["flops"][way] and entry["ms"]["caffepy"][way]
            ]
            if points:
                color = "tab:blue" if kind == "Convolution" else "tab:red"
                label = f"{kind}, {('forward', 'backward')[way]}"
                axis.scatter(*zip(*points, strict=True), s=14, marker=marker, color=color, label=label, alpha=0.7)
    intensity = np.logspace(-1, 3, 200)
    for name, style in (("GB/s", "-"), ("GB/s in cache", ":")):
        roof = np.minimum(ceilings[name] * intensity, ceilings["GFLOP/s"])
        axis.plot(
            intensity, roof, style, color="black", label=f"{ceilings[name]:g} {name}, {ceilings['GFLOP/s']:g} GFLOP/s"
        )
    axis.set(xscale="log", yscale="log", xlabel="operations a byte", ylabel="GFLOP/s")
    axis.legend(fontsize=8)
    return figure


def scaling(entries: list[dict[str, Any]]) -> Any:
    """Time and memory against batch and image size."""
    figure, axes = plt.subplots(2, 2, figsize=(9, 6), layout="constrained")
    for column, (key, title) in enumerate((("batch", "images"), ("size", "pixels a side"))):
        rows = [entry for entry in entries if (entry["size"] is None) == (key == "batch")]
        for name in dict.fromkeys(entry["engine"] for entry in rows):
            of_engine = [entry for entry in rows if entry["engine"] == name]
            x = [entry[key] for entry in of_engine]
            more = [(e["MB"]["peak"] or 0) - (e["MB"]["before"] or 0) for e in of_engine]
            axes[0, column].plot(
                x, [e["ms"]["median"] for e in of_engine], "o-", color=COLORS[name], label=TITLES[name]
            )
            axes[1, column].plot(x, more, "o-", color=COLORS[name], label=TITLES[name])
        axes[0, column].set(ylabel="forward and gradient, ms")
        axes[1, column].set(xlabel=title, ylabel="memory, MB")
        if rows:
            axes[0, column].legend(fontsize=8)
    return figure


def _saved(figure: Any, path: Path) -> Path:
    figure.savefig(path, dpi=90)
    plt.close(figure)
    return path
