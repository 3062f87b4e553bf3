"""The `caffepy` program: one file for each subcommand."""

import click

from caffepy import __version__
from caffepy.cli.demo import demo
from caffepy.cli.saliency import saliency
from caffepy.cli.warm_up import warm_up


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="caffepy")
def main() -> None:
    """Caffe models on today's Python."""


main.add_command(saliency)
main.add_command(demo)
main.add_command(warm_up)
