"""`caffepy draw`: a net's layers and blobs as a picture."""

import click

from caffepy import TEST, TRAIN
from caffepy.cli.command import Subcommand
from caffepy.draw import draw_net_to_file
from caffepy.net.weights import read_definition

_PHASES = {"all": None, "train": TRAIN, "test": TEST}


@click.command(cls=Subcommand)
@click.argument("model", metavar="MODEL")
@click.argument("out", metavar="OUT.svg")
@click.option(
    "--rankdir",
    type=click.Choice(["LR", "RL", "TB", "BT"], case_sensitive=False),
    default="LR",
    show_default=True,
    help="Where the data flow: from left to right, ...",
)
@click.option(
    "--phase",
    type=click.Choice(list(_PHASES), case_sensitive=False),
    default="all",
    show_default=True,
    help="Layers of it only.",
)
@click.option("--display-lrm", "--display_lrm", is_flag=True, help="Write the learning-rate multipliers too.")
def draw(model: str, out: str, rankdir: str, phase: str, display_lrm: bool) -> None:
    """Draw MODEL into a file: .svg or .dot, and where graphviz is installed .png, .pdf and whatever else it writes."""
    definition = read_definition(model)
    draw_net_to_file(definition, out, rankdir, _PHASES[phase], display_lrm)
    click.echo(f"picture  {out}: {len(definition.layer)} layers" + f", those of phase {phase}" * (phase != "all"))
