"""The layer table: what a net is made of, as rows, as text and as HTML."""

import html as markup
import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from caffepy.blob import Shape, SyncedArray
from caffepy.errors import visible
from caffepy.layer import Layer
from caffepy.layers.common.inner_product import InnerProduct
from caffepy.layers.recurrent.recurrent import Recurrent
from caffepy.layers.vision.convolution import Convolution
from caffepy.layers.vision.deconvolution import Deconvolution
from caffepy.limits import counted, shown
from caffepy.net import sharing
from caffepy.net.execution import Execution
from caffepy.net.receptive_field import ReceptiveField, receptive_fields


@dataclass(frozen=True)
class Row:
    """One layer, at the shapes that the net has now."""

    name: str
    type: str
    bottoms: list[str]
    tops: dict[str, Shape]
    parameters: int
    """Its own: what it shares with an earlier layer counts there."""
    macs: int
    """Multiplications with an addition each: of convolutions, inner products and recurrent layers, forward."""
    bytes: int
    """Of the tops' data in float32; 0 where they are another blob's, as in place. Diffs need as much again."""
    field: ReceptiveField | None
    """Of one element of the first top."""


@dataclass(frozen=True)
class Memory:
    """Bytes of float32 that the blobs take, at the shapes that the net has now."""

    data: int
    """With a buffer for each blob."""
    data_inference: int
    """With memory="inference", where blobs take turns."""
    diffs: int
    """With a buffer for each blob, as after `backward`."""
    diffs_gradient: int
    """What `gradient` takes, whose diffs take turns."""
    forward: int
    """All that a forward pass takes: data, weights, memory of the layers' own and scratch memory."""
    forward_inference: int
    """The same with memory="inference"."""
    backward: int
    """What `backward` adds to that: diffs, of weights too."""


@dataclass(frozen=True)
class Table:
    """A net's layers in their order, but the splits that were put between them."""

    name: str
    phase: str
    inputs: list[str]
    outputs: list[str]
    rows: list[Row]
    memory: Memory
    work: int
    """What a forward pass has to do, in multiplications: what limits.Limits limits."""

    @property
    def totals(self) -> dict[str, int]:
        """parameters, macs and bytes of all layers, and parameter_bytes."""
        sums = {what: sum(getattr(row, what) for row in self.rows) for what in ("parameters", "macs", "bytes")}
        return {**sums, "parameter_bytes": 4 * sums["parameters"]}

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        layers = [asdict(row) for row in self.rows]
        return {**asdict(self), "rows": layers, "totals": self.totals}


def table(name: str, phase: int, execution: Execution, shared: Collection[tuple[int, int]]) -> Table:
    """See Table; `shared` are the weights, by layer and number, that are an earlier layer's."""
    wiring = execution.wiring
    seen: set[SyncedArray] = set()
    rows = []
    split_of: dict[str, str] = {}
    fields = receptive_fields(execution)
    for i, layer in enumerate(execution.layers):
        tops = [execution.blobs[top] for top in wiring.tops[i]]
        new = {top.data_storage: top.count for top in tops if top.data_storage not in seen}
        seen.update(new)
        bottoms = [wiring.blobs[blob] for blob in wiring.bottoms[i]]
        if layer.type == "Split" and all(top.startswith(f"{layer.name}_") for top in layer.param.top):
            split_of |= dict.fromkeys(layer.param.top, bottoms[0])
            continue
        own = sum(blob.count for j, blob in enumerate(layer.blobs) if (i, j) not in shared)
        shapes = {top: blob.shape for top, blob in zip(layer.param.top, tops, strict=True)}
        macs = _macs(layer, [execution.blobs[blob].shape for blob in wiring.bottoms[i]])
        size = 4 * sum(new.values())
        read = [split_of.get(bottom, bottom) for bottom in bottoms]
        rows.append(Row(layer.name, layer.type, read, shapes, own, macs, size, fields[i]))
    return Table(
        name,
        "TEST" if phase else "TRAIN",
        wiring.inputs,
        wiring.outputs,
        rows,
        _memory(execution),
        execution.budget.work,
    )


def _memory(execution: Execution) -> Memory:
    data, data_inference = sharing.sizes(execution, sharing.data_of(execution), sharing.kept(execution, ()))
    diffs, diffs_gradient = sharing.sizes(execution, sharing.diffs_of(execution))
    budget = execution.budget
    return Memory(
        4 * data,
        4 * data_inference,
        4 * diffs,
        4 * diffs_gradient,
        budget.total,
        budget.with_tops(4 * data_inference),
        budget.diffs,
    )


def text(found: Table) -> str:
    """The table for a terminal, with a head that names units and a line of totals."""
    lines = [
        _title(found),
        *_aligned([_HEAD, *map(_cells, found.rows), _total_cells(found)]),
        _turns(found.memory),
        _passes(found),
    ]
    return "\n".join(line.rstrip() for line in lines)


def html(found: Table) -> str:
    """The table for a notebook."""
    rows = [_cells(row) for row in found.rows]
    return (
        f"<div><b>{markup.escape(_title(found))}</b><table><thead>{_html_row(_HEAD, 'th')}</thead><tbody>"
        f"{''.join(map(_html_row, rows))}</tbody><tfoot>{_html_row(_total_cells(found), 'th')}</tfoot></table>"
        f"{markup.escape(_turns(found.memory))}<br>{markup.escape(_passes(found))}</div>"
    )


def html_line(line: str) -> str:
    """The line for a notebook."""
    return f"<div>{markup.escape(line)}</div>"


def shape_text(shape: Shape) -> str:
    """`1x3x227x227`; `scalar` for a blob without axes."""
    return "x".join(map(str, shape)) or "scalar"


_HEAD = ("layer", "type", "top", "parameters", "MACs (10^6)", "memory (MB)", "field (px)", "stride (px)")
_LEFT = 3  # columns of words


def _title(found: Table) -> str:
    inputs, outputs = (visible(", ".join(names)) or "none" for names in (found.inputs, found.outputs))
    return f"net {found.name!r}, {found.phase}: {len(found.rows)} layers; inputs {inputs}; outputs {outputs}"


def _turns(memory: Memory) -> str:
    def part(whole: int, shared: int) -> str:
        return f"{shared / 1e6:,.3f} MB ({shared / max(whole, 1):.2f})"

    return (
        f"blobs {memory.data / 1e6:,.3f} MB, "
        f'with memory="inference" {part(memory.data, memory.data_inference)}; '
        f"a gradient's diffs {part(memory.diffs, memory.diffs_gradient)}"
    )


def _passes(found: Table) -> str:
    return (
        f"forward takes {shown(found.memory.forward)} in all, {shown(found.memory.forward_inference)} with "
        f'memory="inference", and has {counted(found.work)} multiplications or the like to do; backward takes '
        f"{shown(found.memory.backward)} more"
    )


def _cells(row: Row) -> tuple[str, ...]:
    tops = list(row.tops.items())
    one = len(tops) == 1 and tops[0][0] == row.name
    shapes = ", ".join(shape_text(shape) if one else f"{name} {shape_text(shape)}" for name, shape in tops)
    words = map(visible, (row.name, row.type, shapes))
    return (*words, *_numbers(row.parameters, row.macs, row.bytes), *_field_cells(row.field))


def _total_cells(found: Table) -> tuple[str, ...]:
    totals = found.totals
    weights = f"parameters {totals['parameter_bytes'] / 1e6:,.2f} MB"
    return ("total", "", weights, *_numbers(totals["parameters"], totals["macs"], totals["bytes"]), "", "")


def _numbers(parameters: int, macs: int, size: int) -> tuple[str, str, str]:
    return (
        f"{parameters:,}" if parameters else "",
        f"{macs / 1e6:,.3f}" if macs else "",
        f"{size / 1e6:,.3f}" if size else "",
    )


def _field_cells(field: ReceptiveField | None) -> tuple[str, str]:
    if field is None:
        return "", ""
    if not any(f.stride for f in field):
        return "all", ""
    sizes, strides = (
        [f"{value:g}" for value in values] for values in zip(*((f.size, f.stride) for f in field), strict=True)
    )
    return tuple(values[0] if len(set(values)) == 1 else "x".join(values) for values in (sizes, strides))  # type: ignore[return-value]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:{'<' if j < _LEFT else '>'}{widths[j]}}" for j, cell in enumerate(row)) for row in rows]


def _html_row(cells: Sequence[str], tag: str = "td") -> str:
    def cell(j: int, content: str) -> str:
        return f'<{tag} style="text-align: {"left" if j < _LEFT else "right"}">{markup.escape(content)}</{tag}>'

    return f"<tr>{''.join(cell(j, content) for j, content in enumerate(cells))}</tr>"


def _macs(layer: Layer, bottoms: Sequence[Shape]) -> int:
    """Elements of the weights times how often each is used."""
    if isinstance(layer, Convolution | Deconvolution):
        axes = len(layer.window.kernel)
        images = math.prod(bottoms[0][: layer.axis]) * len(bottoms)
        extent = bottoms[0][len(bottoms[0]) - axes :]
        positions = extent if isinstance(layer, Deconvolution) else layer.window.positions(extent)
        return layer.blobs[0].count * images * math.prod(positions)
    if isinstance(layer, InnerProduct):
        return layer.blobs[0].count * math.prod(bottoms[0][: layer.axis])
    if isinstance(layer, Recurrent):
        steps, sequences = bottoms[0][:2]
        weights = [(j, blob.count) for j, blob in enumerate(layer.blobs) if len(blob.shape) == 2]
        once = 2 if layer.has_static else None
        return sum(count * sequences * (1 if j == once else steps) for j, count in weights)
    return 0
