"""What settled passes of the zoo's nets consist of; `python -m tests.cpu.counts` prints the table counts.tsv anew."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import caffepy
from caffepy.cpu.captured import CapturedPass
from caffepy.layer import Layer
from caffepy.zoo.nets import NETS
from tests.cpu.roads import road

TABLE = Path(__file__).parent / "counts.tsv"
COLUMNS = "net", "pass", "oneDNN", "reorders", "products", "NumPy", "arena KiB"
"""Calls of oneDNN, reorders and products among them, calls of NumPy, and memory for what no pass leaves behind."""

_PRODUCTS = "convolution", "deconvolution", "inner_product", "sgemm", "matmul"


def counted(name: str) -> list[tuple[str, ...]]:
    """The rows of a net at batch 1, for forward and for the gradient with respect to its input; nothing is computed."""
    with road("onednn"), nothing_runs(), caffepy.Net(NETS[name](1), caffepy.TEST) as net:
        net.forward()
        arena = net.execution.replay.on_cpu.arena
        sizes = [arena.size]
        net.gradient(dict.fromkeys(net.outputs, 1.0), "data")
        sizes.append(arena.size)
        passes = [net.execution.replay.on_cpu.captured(what) for what in ("forward", "gradient")]
        return [
            (name, what, *_row(found), str(size // 1024))
            for what, found, size in zip(("forward", "gradient"), passes, sizes, strict=True)
        ]


def _row(passes: list[CapturedPass]) -> list[str]:
    calls = Counter(call for captured in passes for call in captured.names)
    primitives = {call for captured in passes for call in captured.primitives}
    ours = sum(number for call, number in calls.items() if call in primitives)
    products = sum(number for call, number in calls.items() if call.startswith(_PRODUCTS))
    return [str(number) for number in (ours, calls["reorder"], products, sum(calls.values()) - ours)]


@contextmanager
def nothing_runs() -> Iterator[None]:
    """Passes are captured and their memory is made ready, but their calls stay out; weights are zero."""
    capture = CapturedPass.__init__

    def idle(self: CapturedPass, *args: object, **options: object) -> None:
        capture(self, *args, **options)  # type: ignore[arg-type]
        self._runs = []

    with patch.object(CapturedPass, "__init__", idle), patch.object(Layer, "fill", lambda self, index: None):
        yield


def known() -> dict[str, list[tuple[str, ...]]]:
    """The table's rows by net."""
    rows: dict[str, list[tuple[str, ...]]] = {}
    for line in TABLE.read_text().splitlines()[1:]:
        row = tuple(line.split("\t"))
        rows.setdefault(row[0], []).append(row)
    return rows


if __name__ == "__main__":
    print("\t".join(COLUMNS))
    for net in NETS:
        for row in counted(net):
            print("\t".join(row), flush=True)
