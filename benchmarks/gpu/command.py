"""`python -m benchmarks gpu`: its options, and what they ask for."""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.nets import NETS
from caffepy.proto.files import replacing

PARTS = ("ceilings", "nets", "layers")
DRY = {"emulated": "the emulated device of tests/cuda_on_cpu", "cupy": "CuPy over the stand-in of tests/cupy_on_cpu"}

Write = Callable[[Path, dict[str, Any], dict[str, Any]], None]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of the command."""
    parser.add_argument("--nets", type=_among(tuple(NETS), "net"), help="comma-separated; by default all")
    parser.add_argument("--batch", type=_numbers, help="comma-separated batch sizes; by default 1,8,32")
    parser.add_argument(
        "--parts", type=_among(PARTS, "part"), default=",".join(PARTS), help="comma-separated, in order"
    )
    parser.add_argument("--minutes", type=float, default=float("inf"), help="after which nothing more is begun")
    parser.add_argument("--tune", action="store_true", help="measure and remember the fastest tiles first")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out, which takes minutes")
    parser.add_argument("--results", type=Path, help="folder of gpu.json and gpu.md; by default benchmarks/results")
    parser.add_argument(
        "--dry",
        nargs="?",
        const="emulated",
        choices=DRY,
        help="without a GPU, measuring nothing: " + ", or ".join(f"{name}: {text}" for name, text in DRY.items()),
    )


def run(arguments: argparse.Namespace, results: Path, write: Write) -> int:
    """Measure; writes as it goes, so that a run cut short leaves what it had. The exit status."""
    deadline = time.monotonic() + 60 * arguments.minutes
    if arguments.dry:
        _stand_in(arguments.dry)
    import caffepy
    from benchmarks.gpu import report, sizes, targets
    from benchmarks.gpu.suite import Suite
    from caffepy.errors import DeviceError

    try:
        caffepy.set_mode_gpu()
    except DeviceError as error:
        print(f"{error}\nWithout a GPU, --dry runs the suite without one.", file=sys.stderr)
        return 1
    if arguments.dry:
        chosen, facts = sizes.EMULATED, machine.facts() | {"gpu": f"none: {DRY[arguments.dry]}"}
        folder = arguments.results or Path(tempfile.mkdtemp(prefix="caffepy-dry-run-"))
    else:
        chosen, facts = sizes.real(machine.l2_cache()), machine.facts() | machine.gpu_facts()
        chosen = replace(chosen, nets={name: NETS[name] for name in arguments.nets or NETS})
        folder = arguments.results or results
    chosen = replace(
        chosen,
        batches=tuple(arguments.batch or chosen.batches),
        compiler="" if arguments.no_compile else chosen.compiler,
    )
    suite = Suite(chosen, lambda line: print(line, flush=True), tune=arguments.tune, deadline=deadline)
    for _ in suite.run(arguments.parts):
        suite.result["targets"] = targets.of(suite.result)
        text = report.markdown(suite.result | {"machine": facts})
        write(folder / "gpu.json", facts, suite.result)
        with replacing(folder / "gpu.md") as beside:
            Path(beside).write_text(text, encoding="utf-8")
    print(f"\n{text}\nwritten to {folder / 'gpu.json'} and {folder / 'gpu.md'}")
    return 1 if suite.result["failed"] else 0


def _stand_in(kind: str) -> None:
    """Let GPU mode mean that kind of DRY."""
    if kind == "cupy":
        from tests.cupy_on_cpu import standin

        standin.install()
    else:
        from tests import cuda_on_cpu

        cuda_on_cpu.enable()


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _among(known: tuple[str, ...], what: str) -> Callable[[str], list[str]]:
    def names(text: str) -> list[str]:
        for name in text.split(","):
            if name not in known:
                raise argparse.ArgumentTypeError(f"there is no {what} {name!r}, but {', '.join(known)}")
        return text.split(",")

    return names
