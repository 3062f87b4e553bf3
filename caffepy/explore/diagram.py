"""A net's graph for the page: in-place layers joined to what they change, blocks of branches folded, all laid out."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from os.path import commonprefix
from typing import Any

from caffepy.draw.svg import Edge, Node, place
from caffepy.layer import TYPES
from caffepy.net.table import Row, Table, shape_text

_LEAST, _MOST = 3, 40  # nodes in a block that can be folded
_LONGEST = 30  # characters of a line in a node


@dataclass
class Step:
    """A layer, and those that change its top in place."""

    layers: list[Row]
    sources: list[int] = field(default_factory=list)
    """The steps whose tops it takes."""
    block: str = ""
    """The block that it is of, if it is of one."""

    @property
    def first(self) -> Row:
        """The layer that the step is named after."""
        return self.layers[0]


def steps_of(table: Table) -> list[Step]:
    """The net's steps in order, each with its block's name."""
    steps: list[Step] = []
    made_by: dict[str, int] = {}
    for row in table.rows:
        in_place = len(row.bottoms) == len(row.tops) == 1 and row.bottoms[0] in row.tops
        if in_place and row.bottoms[0] in made_by:
            steps[made_by[row.bottoms[0]]].layers.append(row)
            continue
        sources = dict.fromkeys(made_by[blob] for blob in row.bottoms if blob in made_by)
        made_by |= dict.fromkeys(row.tops, len(steps))
        steps.append(Step([row], list(sources)))
    _name_blocks(steps)
    return steps


def _name_blocks(steps: Sequence[Step]) -> None:
    """Mark what lies between two steps that all data pass: branches and where they meet."""
    farthest, waists = 0, []
    reach = [0] * len(steps)
    for i, step in enumerate(steps):
        for source in step.sources:
            reach[source] = max(reach[source], i)
    for i in range(len(steps)):
        if farthest <= i:
            waists.append(i)
        farthest = max(farthest, reach[i])
    taken: set[str] = set()
    for start, end in pairwise(waists):
        inside = steps[start + 1 : end + 1]
        if _LEAST <= len(inside) <= _MOST:
            name = _unused(_block_name([step.first.name for step in inside]), taken)
            for step in inside:
                step.block = name


def _block_name(names: Sequence[str]) -> str:
    """What they begin with, if that is a whole word; `res2a` of res2a_branch1 and res2a."""
    prefix = commonprefix([*names]).rstrip("/_-. ")  # noqa: RUF071 by characters, since no path is meant
    whole = not any(name[len(prefix) :][:1].isalnum() for name in names)
    return prefix if len(prefix) > 1 and whole else f"{names[0]} to {names[-1]}"


def _unused(name: str, taken: set[str]) -> str:
    found, number = name, 2
    while found in taken:
        found, number = f"{name} ({number})", number + 1
    taken.add(found)
    return found


def diagram(steps: Sequence[Step], unfolded: Collection[str]) -> dict[str, Any]:
    """Nodes and edges with their places, as plain data; blocks named in `unfolded` show their layers."""
    keys = [f"block {s.block}" if s.block and s.block not in unfolded else f"layer {s.first.name}" for s in steps]
    members: dict[str, list[Step]] = {}
    for key, step in zip(keys, steps, strict=True):
        members.setdefault(key, []).append(step)
    nodes = {key: Node("\n".join(_lines(key, of)), "box", "") for key, of in members.items()}
    pairs = dict.fromkeys(
        (keys[source], key)
        for key, step in zip(keys, steps, strict=True)
        for source in step.sources
        if keys[source] != key
    )
    placed = place("TB", nodes, [Edge(*pair) for pair in pairs])
    left, top, right, bottom = placed.bounds
    return {
        "bounds": [left, top, right - left, bottom - top],
        "nodes": [
            {**_described(key, members[key]), "lines": nodes[key].label.split("\n"), "x": x, "y": y, "w": w, "h": h}
            for key, ((x, y), (w, h)) in placed.boxes.items()
        ],
        "edges": [{"source": c.source, "target": c.target, "path": c.path} for c in placed.curves],
    }


def _described(key: str, steps: Sequence[Step]) -> dict[str, Any]:
    last = steps[-1].first
    return {
        "key": key,
        "block": steps[0].block,
        "folded": key.startswith("block "),
        "layer": last.name,
        "room": TYPES[last.type].__module__.split(".")[2] if last.type in TYPES else "",
    }


def _lines(key: str, steps: Sequence[Step]) -> list[str]:
    last = steps[-1].first
    shape = shape_text(next(iter(last.tops.values()), ()))
    if key.startswith("block "):
        layers = sum(len(step.layers) for step in steps)
        return [_short(steps[0].block), f"{layers} layers", shape]
    types = " + ".join(row.type for row in steps[0].layers)
    return [_short(last.name), _short(types), shape]


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
