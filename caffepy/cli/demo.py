"""`caffepy demo`: the main job on the model that comes with the package."""

import click
import numpy as np

from caffepy import io, zoo
from caffepy.blob import Floats
from caffepy.cli.classes import Classes
from caffepy.cli.command import Subcommand, timed
from caffepy.cli.model import set_batch
from caffepy.saliency import class_values, named, pictures, saliency_map

_SIDE = 140  # pixels of a panel
_SHOWN = 5  # samples in the picture of methods
_METHODS = ("gradient", "smoothgrad", "integrated-gradients", "guided-backprop", "lrp", "deeplift", "layer-cam")


@click.command(cls=Subcommand)
@click.option("-o", "--out", default="demo.png", show_default=True, metavar="FILE", help="The picture to write.")
@click.option("--methods", metavar="FILE", help="Another picture to write: ways to explain, side by side.")
def demo(out: str, methods: str | None) -> None:
    """Classify ten garments and draw which pixels their classes depend on; needs no files.

    A small net trained on Fashion-MNIST comes with the package. Prints the class and probability of each sample and
    the time taken; writes one picture with each sample, its saliency map and both laid over each other.
    """
    model = zoo.fashion_mnist()
    images = [io.load_image(sample.picture, color=False) for sample in model.samples]
    net = model.net()
    with net:
        set_batch(net, len(images))
        net.blob(net.inputs[0]).data[...] = np.stack(images).transpose(0, 3, 1, 2)
        forward = timed(net.forward)
        gradient = timed(lambda: saliency_map(net))
        results = [Classes(values, model.labels) for values in class_values(net)]
    truths = [sample.label for sample in model.samples]
    pictures.save(_draw(images, gradient.value, results, truths), out)
    if methods:
        pictures.save(_side_by_side(model, images, results), methods)
    _print(results, truths)
    click.echo(f"time     all {len(images)} at once: forward {forward}, gradient {gradient}")
    click.echo(f"picture  {out}: each sample, its saliency map, both laid over each other")


def _print(results: list[Classes], truths: list[int]) -> None:
    width = max(len(label) for label in results[0].labels or ())
    click.echo(f"{'sample':{width}}  {'predicted':{width}}  probability")
    right = 0
    for classes, truth in zip(results, truths, strict=True):
        (best,) = classes.top(1)
        right += best == truth
        verdict = "right" if best == truth else "wrong"
        click.echo(
            f"{classes.name(truth):{width}}  {classes.name(best):{width}}  {classes.values[best]:11.3f}  {verdict}"
        )
    click.echo(f"{right} of {len(truths)} right")


def _side_by_side(model: zoo.EmbeddedModel, images: list[Floats], results: list[Classes]) -> pictures.Picture:
    """A sample a row, a method a column."""
    net = model.net()
    rows = []
    with net:
        for image, classes in list(zip(images, results, strict=True))[:_SHOWN]:
            (best,) = classes.top(1)
            row = [pictures.Panel(pictures.enlarged(pictures.to_picture(image), _SIDE), classes.name(best))]
            for name in _METHODS:
                data, layer = image.transpose(2, 0, 1)[np.newaxis], "conv3" if name.endswith("cam") else None
                found = named(name)(net, data, best, layer=layer)
                row.append(pictures.Panel(found.panel(longest=_SIDE).picture, name))
            rows.append(row)
    return pictures.grid(rows)


def _draw(images: list[Floats], maps: Floats, results: list[Classes], truths: list[int]) -> pictures.Picture:
    """Two samples a row, three panels each, and a gap between them."""
    cells = []
    gap = pictures.Panel(np.full((_SIDE, 10, 3), 255, np.uint8))
    for image, saliency, classes, truth in zip(images, maps, results, truths, strict=True):
        (best,) = classes.top(1)
        guess = f"{classes.name(best)} {100 * classes.values[best]:.0f} %"
        captions = classes.name(truth), guess, "" if best == truth else "wrong"
        cells.append(pictures.triptych(pictures.to_picture(image), saliency, captions, longest=_SIDE))
    rows = [[*cells[i], gap, *(cells[i + 1] if i + 1 < len(cells) else ())] for i in range(0, len(cells), 2)]
    return pictures.grid(rows)
