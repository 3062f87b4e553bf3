"""`caffepy localize`: where the object of a class is."""

import json
from pathlib import Path

import click

from caffepy.cli.command import Subcommand
from caffepy.cli.explain.explained import Explained, explained_options
from caffepy.saliency import localize as find
from caffepy.saliency import named, pictures


@click.command(cls=Subcommand)
@explained_options("IMAGE")
@click.option("--method", default="gradient", show_default=True, help="The map's method.")
@click.option("-o", "--out", metavar="FILE", help="The picture to write. [default: IMAGE's name with -object.png]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def localize(of: Explained, method: str, out: str | None, as_json: bool) -> None:
    """Cut the object of the class out of IMAGE, led by its saliency map, and draw a box around it.

    Simonyan, Vedaldi & Zisserman 2013, section 3.2; the graph cut is OpenCV's: pip install caffepy[localize].
    """
    destination = out or f"{Path(of.files[0]).stem}-object.png"
    with of.net() as net:
        found = find(net, of.files[0], of.chosen(net), method=named(method))
    pictures.save(found.drawn(), destination)
    height, width = found.picture.shape[:2]
    if as_json:
        report = {"target": found.target, "box": found.box, "size": [width, height], "picture": destination}
        click.echo(json.dumps(report, indent=2))
        return
    left, top, right, bottom = found.box
    click.echo(f"target   {found.target}")
    click.echo(f"box      left {left}, top {top}, right {right}, bottom {bottom} of {width} x {height}")
    click.echo(f"picture  {destination}: the object, and the box around it")
