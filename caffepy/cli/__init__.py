"""The `caffepy` program: one file for each subcommand, in rooms where several are of one kind."""

import click

from caffepy import __version__
from caffepy.cli.batch import batch
from caffepy.cli.classify import classify
from caffepy.cli.demo import demo
from caffepy.cli.detect import detect
from caffepy.cli.device_query import device_query
from caffepy.cli.draw import draw
from caffepy.cli.explain.deepdream import deepdream
from caffepy.cli.explain.evaluate_saliency import evaluate_saliency
from caffepy.cli.explain.localize import localize
from caffepy.cli.explain.saliency import saliency
from caffepy.cli.explain.visualize_class import visualize_class
from caffepy.cli.explore import explore
from caffepy.cli.info import info
from caffepy.cli.run import run
from caffepy.cli.test import test
from caffepy.cli.time import time
from caffepy.cli.tools.compute_image_mean import compute_image_mean
from caffepy.cli.tools.convert_imageset import convert_imageset
from caffepy.cli.tools.extract_features import extract_features
from caffepy.cli.tools.parse_log import parse_log
from caffepy.cli.tools.plot_log import plot_log
from caffepy.cli.tools.resize_and_crop import resize_and_crop
from caffepy.cli.tools.upgrade_net import upgrade_net
from caffepy.cli.tools.upgrade_solver import upgrade_solver
from caffepy.cli.train import train
from caffepy.cli.warm_up import warm_up

_COMMANDS = (
    batch,
    classify,
    compute_image_mean,
    convert_imageset,
    deepdream,
    demo,
    detect,
    device_query,
    draw,
    evaluate_saliency,
    explore,
    extract_features,
    info,
    localize,
    parse_log,
    plot_log,
    resize_and_crop,
    run,
    saliency,
    test,
    time,
    train,
    upgrade_net,
    upgrade_solver,
    visualize_class,
    warm_up,
)


class _Group(click.Group):
    """Commands answer to underscores for their hyphens too: `device_query`."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        return super().get_command(ctx, cmd_name.replace("_", "-"))


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="caffepy")
def main() -> None:
    """Caffe models on today's Python."""


for _command in _COMMANDS:
    main.add_command(_command)
