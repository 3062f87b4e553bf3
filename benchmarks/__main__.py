"""The command line: `python -m benchmarks SUITE...`, and `gpu`, `compare` and `report` by themselves.

argparse, not click: what a GPU is measured with needs no more than NumPy, protobuf and CuPy.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.gpu.command import add_options as gpu_options
from benchmarks.nets import NETS
from caffepy.proto.files import replacing

RESULTS = Path(__file__).parent / "results"
DOCS = Path(__file__).parent.parent / "docs" / "performance.md"
SUITES = {
    "layers": "every layer by itself, beside PyTorch and the machine's ceilings",
    "nets": "whole nets, beside PyTorch, ONNX Runtime, OpenCV and Caffe",
    "saliency": "saliency methods, beside Captum and pytorch-grad-cam",
    "train": "training steps of LeNet and CaffeNet, beside PyTorch",
    "data": "decoding, batches, and how long a training step waits for them",
    "load": "reading a 244 MB caffemodel into a net, beside reading its bytes",
    "memory": "the most that a process takes; time and memory against batch and image size",
    "start": "importing, and the way from a file to the first output",
    "shared-machine": "slowdown beside four busy processes, for us and for PyTorch",
    "gpu": "a GPU's ceilings, every layer and whole nets, beside cuDNN through PyTorch",
}
ALSO = {"load-shared": "shared-machine"}


def main(words: list[str] | None = None) -> int:
    """The exit status: 1 where something failed."""
    words = sys.argv[1:] if words is None else words
    commands = {"gpu": _gpu_parser, "compare": _compare_parser, "report": _report_parser}
    parser = commands[words[0]]() if words and words[0] in commands else _suites_parser()
    arguments = parser.parse_args(words[1:] if words and words[0] in commands else words)
    status: int = arguments.run(arguments)
    return status


def _parser(name: str, run: Any, text: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks{name}",
        description=text,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def _suites_parser() -> argparse.ArgumentParser:
    listed = "; ".join(f"{name}: {text}" for name, text in SUITES.items())
    parser = _parser("", suites, f"Measure caffepy beside others. Suites: {listed}. See also: gpu, compare, report.")
    parser.add_argument("suites", nargs="+", type=_suite, metavar="SUITE", help=", ".join(SUITES))
    parser.add_argument("--nets", default=",".join(NETS), help="comma-separated: of caffepy.zoo.nets, or prototxts")
    parser.add_argument("--batch", type=_numbers, default="1,8", help="comma-separated batch sizes")
    parser.add_argument("--ways", default="forward,gradient,backward", help="of `nets`, comma-separated")
    parser.add_argument("--threads", type=int, default=machine.cores(), help="for every engine")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each engine")
    parser.add_argument(
        "--peers", default="torch,onnxruntime,opencv,caffe,captum,grad-cam", help="; also torch-compile"
    )
    parser.add_argument("--peer-python", action="append", default=[], help="interpreters that have peers, beside this")
    parser.add_argument("--methods", help="of `saliency`, comma-separated; by default all")
    parser.add_argument("--pictures", type=int, default=256, help="of `data`, JPEGs to decode")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="after which nothing more is begun")
    parser.add_argument("--out", type=Path, default=RESULTS / "cpu.json", help="suites in it that do not run are kept")
    return parser


def suites(arguments: argparse.Namespace) -> int:
    """Run them; each is saved when it ends."""
    from benchmarks.run import run

    return run(arguments)


def _compare_parser() -> argparse.ArgumentParser:
    parser = _parser(" compare", compare, "Times of two results, side by side.")
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    return parser


def compare(arguments: argparse.Namespace) -> int:
    """`python -m benchmarks compare`."""
    from benchmarks.compare import report

    print(report(arguments.before, arguments.after))
    return 0


def _report_parser() -> argparse.ArgumentParser:
    parser = _parser(" report", report, "Write a result's tables and plots into a document, between its marks.")
    parser.add_argument("result", type=Path, nargs="?", default=RESULTS / "cpu.json")
    parser.add_argument("--docs", type=Path, default=DOCS, help="- prints the tables and draws nothing")
    return parser


def report(arguments: argparse.Namespace) -> int:
    """`python -m benchmarks report`."""
    from benchmarks.report import write

    write(arguments.result, arguments.docs)
    return 0


def _gpu_parser() -> argparse.ArgumentParser:
    parser = _parser(" gpu", gpu, "The GPU's ceilings, every layer and whole nets, beside cuDNN through PyTorch.")
    gpu_options(parser)
    return parser


def gpu(arguments: argparse.Namespace) -> int:
    """`python -m benchmarks gpu`."""
    from benchmarks.gpu.command import run

    return run(arguments, RESULTS, write)


def write(path: Path, facts: dict[str, Any], result: dict[str, Any]) -> None:
    """As JSON, under the machine's facts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = {"date": time.strftime("%Y-%m-%d"), "machine": facts}
    with replacing(path) as beside:
        Path(beside).write_text(json.dumps(head | result, indent=2) + "\n", encoding="utf-8")


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _suite(text: str) -> str:
    name = ALSO.get(text, text)
    if name not in SUITES:
        raise argparse.ArgumentTypeError(f"there is no suite {text!r}, but {', '.join(SUITES)}")
    return name


if __name__ == "__main__":
    sys.exit(main())
