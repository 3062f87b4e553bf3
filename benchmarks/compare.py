"""Two results side by side: every time that both have, and how it has changed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = "net", "layer", "batch", "size", "way", "method", "engine"
"""What tells entries of a list apart."""


def report(before: Path, after: Path) -> str:
    """A line for each median that both have, the most changed first; below 1 means that it has become faster."""
    old, new = (json.loads(path.read_text()) for path in (before, after))
    times = [dict(_medians(result)) for result in (old, new)]
    both = {name: (times[0][name], times[1][name]) for name in times[0] if name in times[1]}
    width = max(map(len, both), default=0)
    lines = [_differing(old, new)] if _differing(old, new) else []
    for name, (a, b) in sorted(both.items(), key=lambda item: item[1][1] / max(item[1][0], 1e-9)):
        lines.append(f"{name:{width}}  {a:10.3f} -> {b:10.3f} ms  {b / max(a, 1e-9):6.2f}")
    for result, other, path in ((times[0], times[1], before), (times[1], times[0], after)):
        if only := len(result.keys() - other.keys()):
            lines.append(f"{only} times are in {path} only")
    return "\n".join(lines or ["nothing to compare"])


def _medians(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        if isinstance(value.get("median"), int | float) and name and not name.endswith("ratio"):
            yield name, float(value["median"])
            return
        if name.endswith(" ms"):  # of a layer: by engine, forward and backward
            yield from (
                (f"{name} {engine}", float(sum(t or 0 for t in times))) for engine, times in value.items() if times
            )
            return
        for key, inner in value.items():
            if key not in ("machine", "notes"):
                yield from _medians(inner, f"{name} {key}".strip())
    elif isinstance(value, list):
        for entry in value:
            if isinstance(entry, dict):
                own = " ".join(str(entry[key]) for key in NAMES if entry.get(key) is not None)
                yield from _medians({k: v for k, v in entry.items() if k not in NAMES}, f"{name} {own}")


def _differing(old: dict[str, Any], new: dict[str, Any]) -> str:
    machines = [
        {json.dumps(suite.get("machine"), sort_keys=True) for suite in result.values()} for result in (old, new)
    ]
    return "" if machines[0] == machines[1] else "not of the same machine and versions: ratios mean little"
