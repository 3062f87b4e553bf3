"""A laid-out graph as SVG: boxes and octagons with text, and curves between them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

from caffepy.draw.layout import Layout, Member, arrange
from caffepy.errors import visible

_FONT = 12
_WIDE, _HIGH = 0.58 * _FONT, 1.25 * _FONT  # of a character, about, and of a line
_INSIDE = 9.0  # from the text to its node's border
_BETWEEN = 16.0  # nodes of a rank
_RANKS = 34.0  # from rank to rank, beside what is written there
_MARGIN = 12.0
_MARKER = (
    '<marker id="{}" viewBox="0 0 8 8" refX="{}" refY="4" markerWidth="7" markerHeight="7" orient="auto">{}</marker>'
)
_HEAD = f"""<defs>{_MARKER.format("head", 8, '<path d="M0 0L8 4L0 8z" fill="#444"/>')}
{_MARKER.format("tail", 0, '<path d="M8 0L0 4L8 8z" fill="#444"/>')}</defs>
<style>text{{font:{_FONT}px Helvetica,Arial,sans-serif;text-anchor:middle;fill:#111}}
.edge{{fill:none;stroke:#444;stroke-width:1.1}}.node{{stroke:#333}}</style>"""

Point = tuple[float, float]


@dataclass(frozen=True)
class Node:
    """A box or octagon with text in it."""

    label: str
    shape: Literal["box", "octagon"]
    color: str


@dataclass(frozen=True)
class Edge:
    """An arrow between two nodes, by their keys."""

    source: str
    target: str
    label: str = ""


@dataclass(frozen=True)
class _Frame:
    """From (along the ranks, across them) to the picture's (x, y)."""

    rankdir: str

    def point(self, along: float, across: float) -> Point:
        along = -along if self.rankdir in ("RL", "BT") else along
        return (along, across) if self.flat else (across, along)

    @property
    def flat(self) -> bool:
        """Whether the data flow sideways."""
        return self.rankdir in ("LR", "RL")

    def extent(self, width: float, height: float) -> tuple[float, float]:
        """A size along and across."""
        return (width, height) if self.flat else (height, width)


@dataclass(frozen=True)
class Placed:
    """Where everything of a graph goes: x and y of middles, widths and heights, in pixels."""

    boxes: dict[str, tuple[Point, tuple[float, float]]]
    """The middle and the size of each node, by its key, in the order of the ranks."""
    curves: list["Curve"]
    bounds: tuple[float, float, float, float]
    """The least and greatest x and y, with a margin."""


@dataclass(frozen=True)
class Curve:
    """An edge's way as an SVG path."""

    source: str
    target: str
    path: str
    both: bool
    """Whether an edge runs back, too."""
    label: str
    at: Point
    """Where the label goes."""


def place(rankdir: str, nodes: Mapping[str, Node], edges: Sequence[Edge]) -> Placed:
    """Lay out a graph whose edges run in `rankdir`: LR, RL, TB or BT."""
    frame = _Frame(rankdir)
    sizes = {key: _size(node.label) for key, node in nodes.items()}
    lengths = {key: frame.extent(*size)[0] for key, size in sizes.items()}
    breadths = {key: frame.extent(*size)[1] for key, size in sizes.items()}
    joined, labels = _joined(edges)
    layout = arrange(breadths, list(joined), _BETWEEN)
    middles, thick = _along(layout, lengths, labels, frame)
    rank_of = {key: r for r, rank in enumerate(layout.ranks) for key in rank}
    curves = []
    for (source, target), way in zip(joined, layout.ways, strict=True):
        points = [frame.point(*point) for point in _way(way, layout.places, rank_of, middles, lengths, thick)]
        (x0, y0), (x1, y1) = points[:2]
        label, at = labels.get((source, target), ""), ((x0 + x1) / 2, (y0 + y1) / 2)
        curves.append(Curve(source, target, _curve(points, frame), joined[source, target], label, at))
    boxes = {
        key: (frame.point(middles[r], layout.places[key]), sizes[key])
        for r, rank in enumerate(layout.ranks)
        for key in rank
        if isinstance(key, str)
    }
    return Placed(boxes, curves, _bounds(layout, middles, thick, sizes, frame))


def render(name: str, rankdir: str, nodes: Mapping[str, Node], edges: Sequence[Edge]) -> str:
    """The picture of a graph whose edges run in `rankdir`: LR, RL, TB or BT."""
    placed = place(rankdir, nodes, edges)
    shapes = []
    for curve in placed.curves:
        both = ' marker-start="url(#tail)"' if curve.both else ""
        shapes.append(f'<path class="edge" d="{curve.path}" marker-end="url(#head)"{both}/>')
    shapes += [_label(curve.label, curve.at) for curve in placed.curves if curve.label]
    shapes += [_shape(nodes[key], middle, size) for key, (middle, size) in placed.boxes.items()]
    return _document(name, shapes, placed.bounds)


def _size(label: str) -> tuple[float, float]:
    lines = label.split("\n")
    return max(map(len, lines)) * _WIDE + 2 * _INSIDE, len(lines) * _HIGH + 2 * _INSIDE - 4


def _joined(edges: Sequence[Edge]) -> tuple[dict[tuple[str, str], bool], dict[tuple[str, str], str]]:
    """Pairs of nodes, true where edges run both ways, and what is written beside them."""
    joined: dict[tuple[str, str], bool] = {}
    labels: dict[tuple[str, str], str] = {}
    for edge in edges:
        back = (edge.target, edge.source)
        pair = back if back in joined else (edge.source, edge.target)
        joined[pair] = joined.get(pair, False) or pair == back
        if edge.label:
            labels[pair] = edge.label
    return joined, labels


def _along(
    layout: Layout,
    lengths: Mapping[str, float],
    labels: Mapping[tuple[str, str], str],
    frame: _Frame,
) -> tuple[list[float], list[float]]:
    """The middle and the thickness of each rank."""
    thick = [max((lengths.get(key, 0.0) for key in rank if isinstance(key, str)), default=0.0) for rank in layout.ranks]
    widest: dict[str, float] = {}
    for (source, _), label in labels.items():
        widest[source] = max(widest.get(source, 0.0), frame.extent(len(label) * _WIDE, _HIGH)[0])
    middles, at = [], 0.0
    for rank, size in zip(layout.ranks, thick, strict=True):
        middles.append(at + size / 2)
        at += size + _RANKS + max((widest.get(key, 0.0) for key in rank if isinstance(key, str)), default=0.0)
    return middles, thick


def _way(
    way: Sequence[Member],
    places: Mapping[Member, float],
    rank_of: Mapping[Member, int],
    middles: Sequence[float],
    lengths: Mapping[str, float],
    thick: Sequence[float],
) -> list[Point]:
    """The points an edge passes: out of its source, straight through each rank between, into its target."""
    forward = 1 if rank_of[way[0]] < rank_of[way[-1]] else -1
    points = []
    for i, key in enumerate(way):
        middle, across = middles[rank_of[key]], places[key]
        half = forward * (lengths[key] if isinstance(key, str) else thick[rank_of[key]]) / 2
        points += [(middle - half, across)] if i else []
        points += [(middle + half, across)] if i < len(way) - 1 else []
    return points


def _curve(points: Sequence[Point], frame: _Frame) -> str:
    x, y = points[0]
    path = f"M{x:.1f} {y:.1f}"
    for i, (to_x, to_y) in enumerate(points[1:]):
        if i % 2:
            path += f"L{to_x:.1f} {to_y:.1f}"
        elif frame.flat:
            middle = (x + to_x) / 2
            path += f"C{middle:.1f} {y:.1f} {middle:.1f} {to_y:.1f} {to_x:.1f} {to_y:.1f}"
        else:
            middle = (y + to_y) / 2
            path += f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}"
        x, y = to_x, to_y
    return path


def _label(text: str, at: Point) -> str:
    (x, y), width = at, len(text) * _WIDE + 4
    box = f'<rect x="{x - width / 2:.1f}" y="{y - _FONT / 2:.1f}" width="{width:.1f}" height="{_FONT}" fill="#fff"/>'
    return f'{box}<text x="{x:.1f}" y="{y + 0.35 * _FONT:.1f}">{_text(text)}</text>'


def _text(text: str) -> str:
    return escape(visible(text))


def _shape(node: Node, at: Point, size: tuple[float, float]) -> str:
    (x, y), (width, height) = at, size
    left, top, right, bottom = x - width / 2, y - height / 2, x + width / 2, y + height / 2
    cut = 7.0 if node.shape == "octagon" else 0.0
    corners = [
        *((left + cut, top), (right - cut, top), (right, top + cut), (right, bottom - cut)),
        *((right - cut, bottom), (left + cut, bottom), (left, bottom - cut), (left, top + cut)),
    ]
    outline = " ".join(f"{px:.1f},{py:.1f}" for px, py in corners)
    lines = node.label.split("\n")
    first = y - (len(lines) - 1) * _HIGH / 2 + 0.35 * _FONT
    texts = [f'<text x="{x:.1f}" y="{first + i * _HIGH:.1f}">{_text(line)}</text>' for i, line in enumerate(lines)]
    return f'<polygon class="node" points="{outline}" fill="{node.color}"/>' + "".join(texts)


def _bounds(
    layout: Layout,
    middles: Sequence[float],
    thick: Sequence[float],
    sizes: Mapping[str, tuple[float, float]],
    frame: _Frame,
) -> tuple[float, float, float, float]:
    """The least and greatest x and y, with a margin."""
    xs, ys = [0.0], [0.0]
    for r, rank in enumerate(layout.ranks):
        for key in rank:
            x, y = frame.point(middles[r], layout.places[key])
            width, height = sizes[key] if isinstance(key, str) else frame.extent(thick[r], 0.0)
            xs += [x - width / 2, x + width / 2]
            ys += [y - height / 2, y + height / 2]
    return min(xs) - _MARGIN, min(ys) - _MARGIN, max(xs) + _MARGIN, max(ys) + _MARGIN


def _document(name: str, shapes: Sequence[str], bounds: tuple[float, float, float, float]) -> str:
    left, top, right, bottom = bounds
    width, height = right - left, bottom - top
    body = "\n".join(shapes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="{left:.1f} {top:.1f} {width:.1f} {height:.1f}">\n<title>{_text(name)}</title>\n{_HEAD}\n'
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" fill="#fff"/>\n{body}\n</svg>\n'
    )
