"""The command line: `python -m benchmarks cpu`, and likewise `train`, `load`, `data` and `gpu`.

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

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """The exit status: 1 where something failed."""
    arguments = parser().parse_args()
    status: int = arguments.run(arguments)
    return status


def parser() -> argparse.ArgumentParser:
    """Every command and option."""
    top = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure caffepy.")
    commands = top.add_subparsers(required=True)

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name, help=text, description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        added.set_defaults(run=run)
        return added

    cpu_command = command(
        "cpu", cpu, "Forward, and forward with the gradient of a score, beside PyTorch, ONNX Runtime and OpenCV."
    )
    cpu_command.add_argument("--nets", type=_nets, default=",".join(NETS), help="comma-separated")
    cpu_command.add_argument("--batch", type=_numbers, default="1,16", help="comma-separated batch sizes")
    cpu_command.add_argument("--threads", type=int, default=machine.cores(), help="for both engines")
    cpu_command.add_argument("--rounds", type=int, default=5, help="turns of each engine")
    cpu_command.add_argument("--passes", type=int, default=10, help="passes a turn at batch 1; fewer for larger ones")
    cpu_command.add_argument("--json", type=Path, default=RESULTS / "cpu.json", help="where the result goes")
    train_command = command("train", train, "Training steps of LeNet and CaffeNet, beside PyTorch eager.")
    train_command.add_argument("--batch", type=int, default=64, help="images of a step")
    train_command.add_argument("--threads", type=int, default=machine.cores(), help="for both engines")
    train_command.add_argument("--rounds", type=int, default=5, help="turns of each engine")
    train_command.add_argument("--json", type=Path, default=RESULTS / "train.json", help="where the result goes")
    load_command = command("load", load, "Reading a 244 MB caffemodel into a net, beside reading the file's bytes.")
    load_command.add_argument("--rounds", type=int, default=7, help="turns of each way of reading")
    load_command.add_argument("--json", type=Path, default=RESULTS / "load.json", help="where the result goes")
    data_command = command("data", data, "Decoding beside Pillow, batches, and how long a LeNet step waits for them.")
    data_command.add_argument("--rounds", type=int, default=7, help="turns of each way")
    data_command.add_argument("--pictures", type=int, default=256, help="JPEGs to decode")
    data_command.add_argument("--json", type=Path, default=RESULTS / "data.json", help="where the result goes")
    saliency_command = command("saliency", saliency, "Saliency methods beside Captum and pytorch-grad-cam.")
    saliency_command.add_argument("--nets", default="googlenet", help="comma-separated: googlenet, squeezenet")
    saliency_command.add_argument("--methods", help="comma-separated; by default all")
    saliency_command.add_argument("--threads", type=int, default=machine.cores(), help="for every engine")
    saliency_command.add_argument("--rounds", type=int, default=3, help="turns of each engine")
    saliency_command.add_argument("--passes", type=int, default=2, help="maps a turn")
    saliency_command.add_argument("--json", type=Path, default=RESULTS / "saliency.json", help="where the result goes")
    gpu_command = command("gpu", gpu, "The GPU's ceilings, every layer and whole nets, beside cuDNN through PyTorch.")
    gpu_options(gpu_command)
    return top


def cpu(arguments: argparse.Namespace) -> int:
    """`python -m benchmarks cpu`."""
    from benchmarks.cpu import measure

    results: list[dict[str, Any]] = []
    for size in arguments.batch:
        for net in arguments.nets:
            passes = max(2, arguments.passes // size)
            results.append(measure(net, size, arguments.threads, arguments.rounds, passes))
            print_result(results[-1])
    if not results[0]["differences"]:
        print("No peer is installed: these are caffepy's times alone, compared with nothing.")
    save(arguments.json, {"threads": arguments.threads, "unit": "ms", "results": results})
    return 0


def train(arguments: argparse.Namespace) -> int:
    """`python -m benchmarks train`."""
    from benchmarks.train import measure

    results = []
    for net, passes in (("lenet", 20), ("caffenet", 1)):
        results.append(measure(net, arguments.batch, arguments.threads, arguments.rounds, passes))
        for name, figures in results[-1]["step"].items():
            unit = "" if name == "ratio" else " ms"
            print(f"{net:10} {name:8} median {figures['median']:9.3f}{unit}, minimum {figures['minimum']:9.3f}{unit}")
        print(f"{net:10} loss     {results[-1]['loss']}")
    save(arguments.json, {"threads": arguments.threads, "unit": "ms", "results": results})
    return 0


def load(arguments: argparse.Namespace) -> int:
    """`python -m benchmarks load`."""
    from benchmarks.load import measure

    result = measure(arguments.rounds)
    for name, value in result.items():
        print(f"{name:30} {value}")
    save(arguments.json, result)
    return 0


def data(arguments: argparse.Namespace) -> int:
    """`python -m benchmarks data`."""
    from benchmarks.data import measure

    result = measure(arguments.rounds, arguments.pictures)
    print(json.dumps(result, indent=2))
    save(arguments.json, result)
    return 0


def saliency(arguments: argparse.Namespace) -> int:
    """`python -m benchmarks saliency`."""
    from benchmarks.saliency import line, measure
    from caffepy.saliency import METHODS, named

    wanted = [named(name).name for name in arguments.methods.split(",")] if arguments.methods else list(METHODS)
    results = []
    for net in arguments.nets.split(","):
        for method in wanted:
            results.append(measure(net, method, arguments.threads, arguments.rounds, arguments.passes))
            print(line(results[-1]), flush=True)
            save(arguments.json, {"threads": arguments.threads, "results": results})
    return 0


def gpu(arguments: argparse.Namespace) -> int:
    """`python -m benchmarks gpu`."""
    from benchmarks.gpu.command import run

    return run(arguments, RESULTS, write)


def print_result(result: dict[str, Any]) -> None:
    """A table: per pass, then per layer type."""
    head = f"{result['net']}, batch {result['batch']}: {result['passes']} passes, ms"
    print(f"\n{head}; cpu is time of the process; ours over theirs in brackets")
    for what in ("forward", "gradient"):
        for name, figures in result[what].items():
            ratio = figures.get("ratio")
            cells = [
                f"{key} {figures[key]:9.2f}" + (f" ({ratio[key]:.2f})" if ratio else "")
                for key in ("median", "minimum", "cpu")
            ]
            print(f"  {'forward' if what == 'forward' else 'forward + gradient':20} {name:12} {'  '.join(cells)}")
    for kind, engines in result["layers"].items():
        cells = [f"{name} {forward:8.2f} + {backward:8.2f}" for name, (forward, backward) in engines.items()]
        if len(engines) == 2:
            ours, theirs = sum(engines["caffepy"]), sum(engines["torch"])
            cells.append(f"ratio {ours / theirs:6.2f}")
        print(f"    {kind:18} {'  '.join(cells)}")
    for name, difference in result["differences"].items():
        print(f"  {name}'s results differ from ours by {difference:.1e}")


def save(path: Path, result: dict[str, Any]) -> None:
    """Write it, and say where."""
    write(path, machine.facts(), result)
    print(f"\nwritten to {path}")


def write(path: Path, facts: dict[str, Any], result: dict[str, Any]) -> None:
    """As JSON, under the machine's facts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = {"date": time.strftime("%Y-%m-%d"), "machine": facts}
    path.write_text(json.dumps(head | result, indent=2) + "\n")


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _nets(text: str) -> list[str]:
    return _among(text, tuple(NETS), "net")


def _among(text: str, known: tuple[str, ...], what: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"there is no {what} {name!r}, but {', '.join(known)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
