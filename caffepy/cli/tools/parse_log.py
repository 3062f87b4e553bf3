"""`caffepy parse-log`: a training log as tables."""

import os

import click

from caffepy.cli.command import Subcommand
from caffepy.solver.parse_log import parse_log as read
from caffepy.solver.parse_log import write_csv


@click.command("parse-log", cls=Subcommand)
@click.argument("log", metavar="LOG")
@click.argument("folder", metavar="[FOLDER]", required=False)
def parse_log(log: str, folder: str | None) -> None:
    """Write what the training LOG says as LOG.train and LOG.test, tables with commas, to FOLDER or beside it.

    Columns: iteration, seconds since the start, rate, and each output of the net.
    """
    found = read(log)
    target = os.path.join(folder if folder is not None else os.path.dirname(log), os.path.basename(log))
    for kind, rows in (("train", found.train), ("test", found.test)):
        if rows:
            write_csv(f"{target}.{kind}", rows)
            click.echo(f"Wrote {target}.{kind}")
