"""`caffepy classify`: the best classes of pictures."""

import json
from typing import Any

import click

from caffepy.classifier import Classifier
from caffepy.cli.classes import Classes
from caffepy.cli.command import Subcommand
from caffepy.cli.pictures import PictureJob, only_output, picture_options
from caffepy.errors import ArgumentError
from caffepy.saliency.labels import read_labels


@click.command(cls=Subcommand)
@picture_options
@click.option("--labels", metavar="FILE", help="The classes' names, one a line, such as synset_words.txt.")
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="How many classes of each picture.")
@click.option("--oversample", is_flag=True, help="Average over ten crops: corners, centre, and their mirrors.")
@click.option(
    "--image-size",
    type=click.IntRange(1),
    metavar="PIXELS",
    help="Resize each picture to a square of it before cropping. [default: the net's input; with --oversample, 8/7 "
    "of it, as 256 for 224]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def classify(
    job: PictureJob, labels: str | None, top: int, oversample: bool, image_size: int | None, as_json: bool
) -> None:
    """Print the best classes of each IMAGE with their values, probabilities where the net ends in a Softmax.

    A .caffemodel that holds its own definition can stand for MODEL, and then WEIGHTS may be left out. Pictures that
    are listed in a file go in with --list.
    """
    net, described = job.open(Classifier)
    with net:
        only_output(net, net.outputs)
        net.image_dims = _image_dims(net, oversample, image_size)
        results = _classify(job, net, labels, oversample)
    if as_json:
        entries = [{"image": name, "top": [found.entry(i) for i in found.top(top)]} for name, found in results]
        click.echo(json.dumps({"input": described, "images": entries}, indent=2))
        return
    click.echo(f"input    {described}" + ", ten crops" * oversample)
    for name, found in results:
        click.echo(name)
        for rank, i in enumerate(found.top(top), 1):
            click.echo(f"top {rank:<4} {found.values[i]:9.4f}  {found.numbered(i)}")


def _image_dims(net: Classifier, oversample: bool, size: int | None) -> Any:
    if size is None:
        return net.crop_dims * 8 // 7 if oversample else net.crop_dims
    if (net.crop_dims > size).any():
        raise ArgumentError(
            f"--image-size {size}: the net's input is {'x'.join(map(str, net.crop_dims))}; give at least that"
        )
    return net.crop_dims * 0 + size


def _classify(job: PictureJob, net: Classifier, labels: str | None, oversample: bool) -> list[tuple[str, Classes]]:
    results = []
    names = None
    for files, pictures in job.batches(net, 10 if oversample else 1):
        values = net.predict(pictures, oversample=oversample).reshape(len(pictures), -1)
        if labels and names is None:
            names = read_labels(labels, values.shape[1])
        results += [(file, Classes(row, names)) for file, row in zip(files, values, strict=True)]
    return results
