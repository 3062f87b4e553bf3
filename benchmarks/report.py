"""Tables and plots of a result, written into a document between `<!-- NAME -->` and `<!-- end -->`."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import layers, whole_nets
from benchmarks.peers import TITLES

Suites = dict[str, dict[str, Any]]

ALTERNATIVES = {
    "nets": "Times of all engines by net, ours being 1",
    "layers": "Layers with products under the machine's roof",
    "memory": "Time and memory against batch and image size",
}

WAYS = {
    "forward": "Forward",
    "gradient": "Forward and the gradient with respect to the input",
    "backward": "Forward and the gradients of all weights",
}


def write(result: Path, docs: Path) -> None:
    """Put the tables into the document and draw the plots into the folder `performance` beside it; `-`: print only."""
    suites: Suites = json.loads(result.read_text())
    if str(docs) == "-":
        print("\n\n".join(table(suites[name]) for name, table in TABLES.items() if name in suites))
        return
    from benchmarks import plots

    text = docs.read_text("utf-8")
    pictures = plots.draw(suites, docs.parent / "performance")
    for name, table in TABLES.items():
        if name in suites:
            parts = [_head(suites[name]), table(suites[name]), *_picture(name, pictures)]
            block = f"<!-- {name} -->\n" + "\n\n".join(parts) + "\n<!-- end -->"
            text, number = re.subn(rf"<!-- {name} -->.*?<!-- end -->", lambda _, b=block: b, text, flags=re.DOTALL)
            if not number:
                raise SystemExit(f"{docs} has no place for the table: <!-- {name} --> ... <!-- end -->")
    docs.write_text(text, "utf-8")
    print(f"{docs} and {', '.join(map(str, pictures.values()))}")


def _picture(suite: str, pictures: dict[str, Path]) -> list[str]:
    return [f"![{ALTERNATIVES[suite]}](performance/{pictures[suite].name})"] if suite in pictures else []


def _head(entry: dict[str, Any]) -> str:
    machine = entry["machine"]
    versions = ", ".join(
        f"{TITLES.get(name, name)} {machine[name]}" for name in (*TITLES, "captum") if machine.get(name)
    )
    notes = "".join(f" {note[0].upper()}{note[1:]}." for note in _together(entry["notes"]))
    return (
        f"{entry['date']}, {machine['processor']}, {entry['threads']} threads, Python {machine['python']}, "
        f"{versions}.{notes}"
    )


def _together(notes: Sequence[str]) -> list[str]:
    """Notes that say the same of several things as one."""
    of: dict[str, list[str]] = {}
    for note in notes:
        what, _, said = note.rpartition(": ")
        of.setdefault(said, []).append(what)
    return [f"{'; '.join(filter(None, whats))}: {said}" if any(whats) else said for said, whats in of.items()]


def table_of(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


def nets(entry: dict[str, Any]) -> str:
    """By way a table of nets against engines: medians in ms, ours over theirs in brackets; and the means."""
    entries = entry["result"]
    means = whole_nets.means(entries)
    parts = []
    for way, title in WAYS.items():
        rows = [found for found in entries if found["way"] == way]
        names = [name for name in TITLES if any(name in found["engines"] for found in rows)]
        cells = [
            [found["net"], str(found["batch"]), *(_time(found["engines"].get(name)) for name in names)]
            for found in rows
        ]
        by_peer = means.get(way, {})
        cells.append(
            ["geometric mean", "", *(f"{by_peer[name]['median']:.2f}" if name in by_peer else "" for name in names)]
        )
        parts.append(f"{title}:\n\n{table_of(['net', 'batch', *(TITLES[name] for name in names)], cells)}")
    return "\n\n".join(parts)


def _time(figures: dict[str, Any] | None) -> str:
    if figures is None:
        return ""
    ratio = f" ({figures['ratio']['median']:.2f})" if "ratio" in figures else ""
    return f"{figures['median']:.1f}{ratio}"


def of_layers(entry: dict[str, Any]) -> str:
    """By type, and what bounds each; and the layers furthest behind."""
    found, ceilings = entry["result"]["layers"], entry["result"]["ceilings"]
    rows = []
    for kind, sums in layers.by_type(found).items():
        ours, theirs = sums["caffepy"], sums.get("torch")
        costs = [f for f in found if f["type"] == kind and all(f["ms"].values())]
        floor = sum(layers.floor(f, ceilings) for f in costs)
        ratio = f"{sum(ours) / max(sum(theirs), 1e-9):.2f}" if theirs else ""
        cells = [" + ".join(f"{t:.1f}" for t in times) if times else "" for times in (ours, theirs)]
        rows.append([kind, str(len(costs)), *cells, ratio, f"{floor / sum(ours):.0%}", layers.bound(costs, ceilings)])
    head = ["layer type", "layers", "caffepy", "PyTorch eager", "ratio", "share of the ceiling", "bound by"]
    said = ", ".join(f"{value:g} {unit}" for unit, value in ceilings.items())
    return f"ms, forward + backward, summed over nets and batches. Ceilings: {said}.\n\n{table_of(head, rows)}"


def train(entry: dict[str, Any]) -> str:
    """Steps."""
    rows = [
        [f["net"], str(f["batch"]), *(_time(f["step"].get(name)) for name in ("caffepy", "torch"))]
        for f in entry["result"]
    ]
    return table_of(["net", "batch", "caffepy", "PyTorch eager"], rows)


def saliency(entry: dict[str, Any]) -> str:
    """Images a second, how many times as fast as the peer, and memory."""
    rows = []
    for found in entry["result"]:
        peer = next((name for name in ("captum", "grad-cam") if name in found), None)
        ours = found["caffepy"]
        row = [found["method"], f"{ours['images_per_second']:.2f}", f"{ours['peak_mb']:.0f}"]
        theirs = found[peer] if peer else {}
        rows.append(
            [*row, peer or "", *(f"{theirs[key]:.2f}" if theirs else "" for key in ("time_ratio", "memory_ratio"))]
        )
    head = ["method", "images a second", "MB", "peer", "time, ours / theirs", "memory, ours / theirs"]
    return table_of(head, rows)


def memory(entry: dict[str, Any]) -> str:
    """MB above what the process took before the net was made."""
    entries = entry["result"]["nets"]
    names = list(dict.fromkeys(found["engine"] for found in entries))
    keys = list(dict.fromkeys((found["net"], found["batch"], found["way"]) for found in entries))
    by_key = {(found["net"], found["batch"], found["way"], found["engine"]): found["MB"] for found in entries}
    rows = [
        [net, str(batch), way, *(_more(by_key.get((net, batch, way, name))) for name in names)]
        for net, batch, way in keys
    ]
    titles = TITLES | {"caffepy-inference": 'caffepy, memory="inference"'}
    return table_of(["net", "batch", "pass", *(titles[name] for name in names)], rows)


def _more(sizes: dict[str, float | None] | None) -> str:
    if sizes is None or sizes["peak"] is None or sizes["before"] is None:
        return ""
    return f"{sizes['peak'] - sizes['before']:.0f}"


def start(entry: dict[str, Any]) -> str:
    """Imports, and the way from disk."""
    imports = entry["result"]["import, ms of the processor"]
    disk = entry["result"]["CaffeNet from disk"]
    rows = [
        [f"`import {name}`, of the processor", f"{times['median']:.0f}", f"{times['minimum']:.0f}"]
        for name, times in imports.items()
    ]
    rows += [
        [f"CaffeNet: {key}", f"{disk[key]['median']:.0f}", f"{disk[key]['minimum']:.0f}"]
        for key in disk
        if key != "ratio"
    ]
    closing = (
        f"From the file to the first output takes {disk['ratio']:.2f} times what reading it and one settled pass take."
    )
    return f"{table_of(['', 'median, ms', 'minimum, ms'], rows)}\n\n{closing}"


def shared_machine(entry: dict[str, Any]) -> str:
    """Slowdowns."""
    rows = []
    for found in entry["result"]:
        cells = [
            f"{of['alone']['median']:.1f} → {of['beside']['median']:.1f} ({of['slowdown']:.1f} times)" if of else ""
            for of in (found["caffepy"], found.get("torch"))
        ]
        rows.append([found["net"], *cells, f"{found.get('ratio of slowdowns', '')}"])
    return table_of(["net", "caffepy", "PyTorch eager", "ours / theirs"], rows)


def plain(entry: dict[str, Any]) -> str:
    """Whatever there is, a line each."""
    return table_of(["", ""], [[name, json.dumps(value)] for name, value in entry["result"].items()])


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "nets": nets,
    "layers": of_layers,
    "saliency": saliency,
    "train": train,
    "memory": memory,
    "start": start,
    "shared-machine": shared_machine,
    "load": plain,
    "data": plain,
}
