"""`caffepy plot-log`: the curves of training logs."""

import click

from caffepy.cli.command import Subcommand
from caffepy.solver.plot_log import plot_log as draw


@click.command("plot-log", cls=Subcommand)
@click.argument("logs", metavar="LOG...", nargs=-1, required=True)
@click.option("-o", "--output", default="training.png", show_default=True, help="A .png, .svg or .pdf.")
@click.option("--title", default="", help="What stands above the curves.")
def plot_log(logs: tuple[str, ...], output: str, title: str) -> None:
    """Draw losses, test results and rate of training LOGs over iterations. Needs matplotlib: caffepy[viz]."""
    draw(logs, output, title=title)
    click.echo(f"Wrote {output}")
