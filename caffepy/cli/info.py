"""`caffepy info`: the layer table of a model."""

import json

import click

from caffepy.cli.command import Subcommand
from caffepy.cli.options import NetChoice, net_options
from caffepy.errors import ArgumentError
from caffepy.pycaffe import Net


class _Unfilled(Net):
    """Weights that no file provides stay unmade: nothing here looks at them."""

    def _fill(self, loaded: set[int]) -> None:
        pass


@click.command(cls=Subcommand)
@net_options("test")
@click.option("--batch", type=click.IntRange(1), help="Images at once. [default: the model's]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(net: NetChoice, batch: int | None, as_json: bool) -> None:
    """Print MODEL's layers: type, top shapes, parameters, products, memory of the tops, receptive field; and totals.

    The last lines are about memory: of blobs, with a buffer for each, and where they take turns in the same; and of all
    that a pass takes, and what it has to do. None of it is taken; CAFFEPY_MEMORY_LIMIT=1TB looks at what is larger than
    this machine.
    A receptive field is how many pixels of the input one element depends on, and how far apart those of neighbours
    are. With WEIGHTS it is checked that they fit, and layers without weights in the file are named.
    """
    with net.open(_Unfilled) as opened:
        if batch is not None:
            if not opened.inputs:
                raise ArgumentError("--batch: this net has no inputs to reshape; its data layer says the batch")
            for name in opened.inputs:
                opened.blob(name).reshape(batch, *opened.blob(name).shape[1:])
            opened.reshape()
        if as_json:
            click.echo(json.dumps(opened.table().as_dict(), indent=2))
        else:
            click.echo(repr(opened))
