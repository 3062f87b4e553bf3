"""The command line: `python -m benchmarks cpu`, `python -m benchmarks load`."""

import json
import time
from pathlib import Path
from typing import Any

import click

from benchmarks import machine
from benchmarks.nets import NETS

RESULTS = Path(__file__).parent / "results"


@click.group()
def main() -> None:
    """Measure caffepy."""


@main.command()
@click.option("--nets", default=",".join(NETS), help="Comma-separated.", show_default=True)
@click.option("--batch", default="1,16", help="Comma-separated batch sizes.", show_default=True)
@click.option("--threads", default=machine.cores(), help="For both engines.", show_default="all cores")
@click.option("--rounds", default=5, help="Turns of each engine.", show_default=True)
@click.option("--passes", default=10, help="Passes a turn at batch 1; fewer for larger batches.", show_default=True)
@click.option("--json", "path", type=click.Path(path_type=Path), help="Default: benchmarks/results/cpu.json.")
def cpu(nets: str, batch: str, threads: int, rounds: int, passes: int, path: Path | None) -> None:
    """Forward, and forward with the gradient of a score, beside PyTorch eager with frozen weights."""
    from benchmarks.cpu import measure

    results: list[dict[str, Any]] = []
    for size in (int(number) for number in batch.split(",")):
        for net in nets.split(","):
            if net not in NETS:
                raise click.BadParameter(f"there is no net {net!r}, but {', '.join(NETS)}", param_hint="--nets")
            results.append(measure(net, size, threads, rounds, max(2, passes // size)))
            print_result(results[-1])
    if "torch" not in results[0]["forward"]:
        click.echo("PyTorch is not installed: these are caffepy's times alone, compared with nothing.")
    write(path or RESULTS / "cpu.json", {"threads": threads, "unit": "ms", "results": results})


@main.command()
@click.option("--rounds", default=7, help="Turns of each way of reading.", show_default=True)
@click.option("--json", "path", type=click.Path(path_type=Path), help="Default: benchmarks/results/load.json.")
def load(rounds: int, path: Path | None) -> None:
    """Reading a CaffeNet-sized caffemodel into a net, beside reading the file's bytes."""
    from benchmarks.load import measure

    result = measure(rounds)
    for name, value in result.items():
        click.echo(f"{name:30} {value}")
    write(path or RESULTS / "load.json", result)


def print_result(result: dict[str, Any]) -> None:
    """A table: per pass, then per layer type."""
    click.echo(f"\n{result['net']}, batch {result['batch']}: medians (minima) of {result['passes']} passes, ms")
    for what in ("forward", "gradient"):
        figures = result[what]
        line = "  ".join(
            f"{name} {figures[name]['median']:9.2f} ({figures[name]['minimum']:.2f})"
            for name in ("caffepy", "torch", "ratio")
            if name in figures
        )
        click.echo(f"  {'forward' if what == 'forward' else 'forward + gradient':20} {line}")
    for kind, engines in result["layers"].items():
        cells = [f"{name} {forward:8.2f} + {backward:8.2f}" for name, (forward, backward) in engines.items()]
        if len(engines) == 2:
            ours, theirs = sum(engines["caffepy"]), sum(engines["torch"])
            cells.append(f"ratio {ours / theirs:6.2f}")
        click.echo(f"    {kind:18} {'  '.join(cells)}")
    if "difference" in result:
        click.echo(f"  the gradients' sizes differ by {result['difference']:.1e}")


def write(path: Path, result: dict[str, Any]) -> None:
    """As JSON, under the machine's facts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = {"date": time.strftime("%Y-%m-%d"), "machine": machine.facts()}
    path.write_text(json.dumps(head | result, indent=2) + "\n")
    click.echo(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
