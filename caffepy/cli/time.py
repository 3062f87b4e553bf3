"""`caffepy time`: how long each layer takes."""

import json
from typing import Any

import click

from caffepy import Net
from caffepy.cli.command import Subcommand
from caffepy.cli.model import fill_at_random
from caffepy.cli.options import NetChoice, net_options
from caffepy.errors import visible
from caffepy.net.profile import Cost, Profile
from caffepy.rng import generator


@click.command(cls=Subcommand)
@net_options("test")
@click.option("--iterations", type=click.IntRange(1), default=50, show_default=True, help="Runs of each layer.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def time(net: NetChoice, iterations: int, as_json: bool) -> None:
    """Print how many milliseconds each layer of MODEL takes, forward and backward to the net's inputs.

    On the CPU the median of the runs, on a GPU their mean between two events. Inputs are random; without WEIGHTS, the
    weights are too. A share is that of a layer's pass in all passes, forward and backward.
    """
    with net.open() as running:
        _fill(running, weights=not net.has_weights)
        profile = running.profile(iterations)
        shapes = {name: running.blob(name).shape for name in running.inputs}
    if as_json:
        click.echo(json.dumps({"iterations": iterations, "inputs": shapes, **_report(profile)}, indent=2))
    else:
        inputs = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items()) or "none"
        click.echo(f"{profile.device}; {iterations} runs of each layer; inputs {inputs}")
        click.echo(_table(profile))


def _fill(net: Net, *, weights: bool) -> None:
    for name in net.inputs:
        blob = net.blob(name)
        if len(blob.shape) > 2:  # labels and the like stay zero
            blob.data[...] = generator().random(blob.shape)
    if weights:
        fill_at_random(net)


def _report(profile: Profile) -> dict[str, Any]:
    def entry(forward: Cost, backward: Cost | None) -> dict[str, Any]:
        return {"forward_ms": forward.ms, "backward_ms": backward.ms if backward else None}

    layers = [
        {"name": layer.name, "type": layer.type, **entry(layer.forward, layer.backward)} for layer in profile.layers
    ]
    return {"device": profile.device, "layers": layers, "total": entry(profile.forward, profile.backward)}


def _table(profile: Profile) -> str:
    total = _ms(profile.forward) + _ms(profile.backward)
    rows = [(visible(layer.name), layer.type, layer.forward, layer.backward) for layer in profile.layers]
    names, types = (max(len(text) for text in texts) for texts in zip(*(row[:2] for row in rows), strict=True))
    names = max(names, len("layer"))

    def line(name: str, kind: str, forward: Cost, backward: Cost | None) -> str:
        return f"{name:{names}}  {kind:{types}}  {_cell(forward, total)}  {_cell(backward, total)}".rstrip()

    head = f"{'layer':{names}}  {'type':{types}}  {'forward ms':>11} {'share':>6}  {'backward ms':>11} {'share':>6}"
    lines = [head, *(line(*row) for row in rows), line("total", "", profile.forward, profile.backward)]
    return "\n".join([*lines, f"forward and backward: {total:.3f} ms"])


def _ms(cost: Cost) -> float:
    return cost.ms or 0.0


def _cell(cost: Cost | None, total: float) -> str:
    if cost is None:
        return " " * 18
    return f"{_ms(cost):11.3f} {_ms(cost) / total if total else 0:6.1%}"
