"""`caffepy deepdream`: a picture, and what a layer sees in it."""

from dataclasses import replace

import click

from caffepy.cli.command import Subcommand
from caffepy.cli.explain.explained import Explained, bar, explained_options
from caffepy.saliency import deep_dream
from caffepy.saliency.synthesis.ascent import total_steps
from caffepy.saliency.synthesis.objectives import DREAM


@click.command(cls=Subcommand)
@explained_options("IMAGE")
@click.option("--layer", required=True, metavar="BLOB", help="The blob that is to be strengthened.")
@click.option("--guide", metavar="IMAGE", help="Bring out what the layer sees in this picture.")
@click.option("--steps", default=DREAM.steps, show_default=True, help="Steps up the gradient, in each octave.")
@click.option("--octaves", default=DREAM.octaves, show_default=True, help="Sizes, from small to the whole.")
@click.option("-o", "--out", default="dream.png", show_default=True, metavar="FILE", help="The picture to write.")
def deepdream(of: Explained, layer: str, guide: str | None, steps: int, octaves: int, out: str) -> None:
    """Strengthen in IMAGE whatever a layer sees in it (Mordvintsev, Olah & Tyka 2015)."""
    ascent = replace(DREAM, steps=steps, octaves=octaves)
    with of.net() as net, bar(total_steps(ascent), "step") as progress:
        found = deep_dream(net, of.files[0], layer, guide=guide, ascent=ascent, progress=progress)
        found.save(out, longest=480)
    click.echo(f"picture  {out}: {layer} strengthened")
