"""`caffepy test`: a net's outputs, averaged over batches."""

import json
from typing import Any

import click
import numpy as np

from caffepy import Net
from caffepy.blob import Floats
from caffepy.cli.command import Subcommand
from caffepy.cli.options import NetChoice, net_options

_FEW = 10  # values of an output that are printed one by one


@click.command(cls=Subcommand)
@net_options("test")
@click.option("--iterations", type=click.IntRange(1), default=50, show_default=True, help="Batches.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def test(net: NetChoice, iterations: int, as_json: bool) -> None:
    """Run MODEL with WEIGHTS for a number of batches; print its outputs, and their averages.

    An output with a loss weight adds weight times average to the loss. Outputs of many values are summed up in a line;
    --json gives all of them.
    """
    if not net.has_weights:
        raise click.UsageError("Expected WEIGHTS after MODEL: give the trained .caffemodel.")
    with net.open() as running:
        if running.inputs:
            click.echo(f"Warning: nothing is fed to {', '.join(running.inputs)}: zeros go in", err=True)
        means, loss = _run(running, iterations, quiet=as_json)
        weights = running.blob_loss_weights
    if as_json:
        outputs = {name: {"mean": mean.tolist(), "loss_weight": weights[name]} for name, mean in means.items()}
        click.echo(json.dumps({"iterations": iterations, "loss": loss, "outputs": outputs}, indent=2))
        return
    click.echo(f"Loss: {loss:g}")
    for name, mean in means.items():
        _print(
            name, mean, f" (* {weights[name]:g} = {weights[name] * float(mean.mean()):g} loss)" * bool(weights[name])
        )


def _run(net: Net, iterations: int, *, quiet: bool) -> tuple[dict[str, Floats], float]:
    """The outputs' averages, and that of the loss."""
    sums: dict[str, Any] = {}
    loss = 0.0
    for i in range(iterations):
        loss += net.forward_from_to(0, len(net.layers) - 1)
        for name in net.outputs:
            data = net.blob(name).data
            sums[name] = sums.get(name, 0) + data.astype(np.float64)
            if not quiet and data.size <= _FEW:
                for value in data.flat:
                    click.echo(f"Batch {i}, {name} = {value:g}")
    return {name: total / iterations for name, total in sums.items()}, loss / iterations


def _print(name: str, mean: Floats, note: str) -> None:
    if mean.size > _FEW:
        span = f"{mean.min():g} to {mean.max():g}"
        click.echo(
            f"{name}: {mean.size} values of {'x'.join(map(str, mean.shape))}, {span}, mean {mean.mean():g}{note}"
        )
        return
    for value in mean.flat:
        click.echo(f"{name} = {value:g}{note}")
