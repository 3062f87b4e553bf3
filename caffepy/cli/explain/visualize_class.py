"""`caffepy visualize-class`: an image that a net takes for a class."""

from dataclasses import replace

import click

from caffepy.cli.command import Subcommand
from caffepy.cli.explain.explained import Explained, bar, explained_options
from caffepy.errors import ArgumentError
from caffepy.saliency import visualize_class as visualize
from caffepy.saliency.synthesis.ascent import total_steps
from caffepy.saliency.synthesis.objectives import CLASS


@click.command("visualize-class", cls=Subcommand)
@explained_options()
@click.option("--steps", default=CLASS.steps, show_default=True, help="Steps up the gradient, in each octave.")
@click.option("--rate", default=CLASS.rate, show_default=True, help="Size of a step, in parts of the input's scale.")
@click.option("--octaves", default=CLASS.octaves, show_default=True, help="Sizes, from small to the whole.")
@click.option("--plain", is_flag=True, help="The paper's own: no jitter, no blur, one octave.")
@click.option("-o", "--out", default="class.png", show_default=True, metavar="FILE", help="The picture to write.")
def visualize_class(of: Explained, steps: int, rate: float, octaves: int, plain: bool, out: str) -> None:
    """Make an image for which the score of the class --target is high, from the mean image.

    Simonyan, Vedaldi & Zisserman 2013, section 2, with later regularisers unless --plain.
    """
    if of.target == "top":
        raise ArgumentError("say which class: --target INDEX, or a name with --labels")
    ascent = replace(CLASS, steps=steps, rate=rate, octaves=octaves)
    if plain:
        ascent = replace(ascent, octaves=1, jitter=0, blur=0)
    with of.net() as net, bar(total_steps(ascent), "step") as progress:
        found = visualize(net, of.chosen(net), ascent=ascent, progress=progress)
        found.save(out, longest=480)
    click.echo(f"{found.what}: score {found.score:.4g}")
    click.echo(f"picture  {out}")
