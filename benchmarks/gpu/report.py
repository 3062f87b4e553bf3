"""A result as Markdown tables that read well in a terminal too."""

from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.gpu import targets

Result = dict[str, Any]


def markdown(result: Result) -> str:
    """Everything that was measured."""
    parts = [_head(result), _targets(result), _ceilings(result), _nets(result), _convolutions(result)]
    return "\n\n".join(part for part in [*parts, _streams(result), _layers(result)] if part) + "\n"


def _head(result: Result) -> str:
    lines = ["# GPU figures", ""]
    if result["dry"]:
        lines += [
            "**Nothing was measured: this was a dry run on a GPU that is emulated on the CPU.** The figures below are "
            "the emulator's and say nothing about any GPU.",
            "",
        ]
    lines += [f"* {name}: {value}" for name, value in result.get("machine", {}).items() if value is not None]
    if result["peer"] != "PyTorch":
        lines.append(f"* {result['peer']}: these are caffepy's figures alone, compared with nothing.")
    lines += [f"* not run, PyTorch's mode {mode!r}: {why}" for mode, why in result["unavailable"].items()]
    lines += [f"* FAILED: {failed}" for failed in result["failed"]]
    if left_out := result["left out"]:
        lines.append(f"* left out, because the time was over: {len(left_out)}, from {left_out[0]} on")
    return "\n".join(lines)


def _targets(result: Result) -> str:
    rows = [
        (
            target["name"],
            f"{'at most' if target['at_most'] else 'at least'} {target['goal']:g}",
            "not measured" if target["value"] is None else f"{target['value']:.3g}",
            "" if result["dry"] else {None: "", True: "met", False: "MISSED"}[target["met"]],
        )
        for target in result["targets"]
    ]
    return _table("Targets", ("", "goal", "measured", ""), rows)


def _ceilings(result: Result) -> str:
    found = result["ceilings"]
    rows = [(f"copy of {_bytes(int(size))}", f"{speed:.0f} GB/s") for size, speed in found.get("copy", {}).items()]
    rows += [(f"matrix product, {name}", f"{speed:.1f} TFLOP/s") for name, speed in found.get("product", {}).items()]
    return _table("Ceilings, measured in the same run (a copy counts what it reads and what it writes)", ("", ""), rows)


def _nets(result: Result) -> str:
    rows = [
        (
            net["net"],
            net["batch"],
            "forward" if net["what"] == "forward" else "forward + gradient",
            net["precision"],
            f"{net['caffepy']:.3f}",
            *_beside(net),
            f"{net['host']:.0f}" if "host" in net else "",
        )
        for net in result["nets"]
    ]
    head = ("net", "batch", "pass", "precision", "caffepy ms", "PyTorch ms", "times as fast", "its mode", "host us")
    return _table("Whole nets", head, rows)


def _beside(found: Result) -> tuple[str, str, str]:
    if "torch" not in found:
        return "", "", ""
    return f"{found['torch']:.3f}", f"{found['speedup']:.2f}", found["mode"]


def _convolutions(result: Result) -> str:
    nets = list(dict.fromkeys(net for layer in result["layers"] for net in layer["nets"]))
    batches = sorted({layer["batch"] for layer in result["layers"]})
    rows = []
    for precision in result["precisions"]:
        for net in nets:
            means = [targets.conv_speedup(result, precision, net, batch) for batch in (*batches, None)]
            rows.append((net, precision, *("" if mean is None else f"{mean:.2f}" for mean in means)))
    title = "Convolutions: times as fast as cuDNN through PyTorch (geometric mean of forward, to data and to weights)"
    return _table(title, ("net", "precision", *(f"batch {batch}" for batch in batches), "all"), rows)


def _streams(result: Result) -> str:
    kinds = dict.fromkeys((layer["type"], layer["way"]) for layer in result["layers"] if not layer["flops"])
    rows = []
    for kind, way in kinds:
        speedups = [
            layer["speedup"]
            for layer in result["layers"]
            if (layer["type"], layer["way"]) == (kind, way) and "speedup" in layer
        ]
        share, mean = targets.copy_share(result, kind, way), targets.geometric_mean(speedups)
        rows.append((kind, way, f"{share:.0%}" if share else "", f"{mean:.2f}" if mean else ""))
    title = "What only streams: share of the copy bandwidth (of layers beyond the L2 cache), times as fast as PyTorch"
    return _table(title, ("type", "way", "share", "times as fast"), rows)


def _layers(result: Result) -> str:
    rows = [
        (
            layer["layer"],
            ", ".join(layer["nets"]),
            layer["batch"],
            layer["way"],
            layer["precision"],
            f"{layer['caffepy']:.4f}",
            *_beside(layer),
            f"{1e-9 * layer['flops'] / layer['caffepy']:.1f}" if layer["flops"] else "",
            f"{1e-6 * layer['bytes'] / layer['caffepy']:.0f}",
        )
        for layer in result["layers"]
    ]
    head = ("layer", "nets", "batch", "way", "precision", "caffepy ms", "PyTorch ms", "times as fast", "its mode")
    return _table("Every distinct layer", (*head, "TFLOP/s", "GB/s"), rows)


def _bytes(size: int) -> str:
    return f"{size / 2**20:g} MiB" if size >= 2**20 else f"{size / 2**10:g} KiB"


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    cells = [[str(cell) for cell in row] for row in rows]
    if not cells:
        return ""
    widths = [max(len(row[i]) for row in (head, *cells)) for i in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
             for row in (head, *cells)]  # fmt: skip
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([f"## {title}", "", lines[0], rule, *lines[1:]])
