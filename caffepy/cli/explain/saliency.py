"""`caffepy saliency`: which pixels of a picture a net's score depends on."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from caffepy import Net, io
from caffepy.blob import Floats
from caffepy.cli.classes import Classes, find_target
from caffepy.cli.command import Subcommand, Timed, timed
from caffepy.cli.explain.explained import bar
from caffepy.cli.model import load_net
from caffepy.cli.options import ALLOW_OPTION
from caffepy.limits import Limits
from caffepy.saliency import (
    METHODS,
    Method,
    Preprocess,
    Saliency,
    channel_maximum,
    class_score,
    class_values,
    named,
    pictures,
    score_gradient,
)
from caffepy.saliency.labels import read_labels
from caffepy.saliency.preprocess import IMAGENET_MEAN, preprocess_of

_TOP = 5
_SIDE = 240  # pixels of a panel in a grid of methods


@click.command(cls=Subcommand)
@click.argument("model", metavar="MODEL.prototxt")
@click.argument("files", nargs=-1, required=True, metavar="[WEIGHTS.caffemodel] IMAGE")
@click.option("--target", default="top", show_default=True, help="The class: its index, its name, or top.")
@click.option("--labels", metavar="FILE", help="The classes' names, one a line, such as synset_words.txt.")
@click.option(
    "--mean",
    metavar="B,G,R|FILE",
    help="What is subtracted: a number a channel, a .npy or .binaryproto file, or none. "
    f"[default: {IMAGENET_MEAN} for 3 channels at scale 255]",
)
@click.option("--scale", default=255.0, show_default=True, help="The value of white in the net's input.")
@click.option(
    "--method",
    "methods",
    default="gradient",
    show_default=True,
    help=f"Methods by commas, a map for each: {', '.join(METHODS)}.",
)
@click.option("--layer", metavar="BLOB", help="Explain this blob and not the input, where a method can.")
@click.option("--output", metavar="BLOB", help="The blob of class scores. [default: the net's only output]")
@click.option("-o", "--out", metavar="FILE", help="The picture to write. [default: IMAGE's name with -saliency.png]")
@click.option("--random-weights", is_flag=True, help="Take no WEIGHTS; run on random ones.")
@ALLOW_OPTION
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def saliency(
    model: str,
    files: tuple[str, ...],
    target: str,
    labels: str | None,
    mean: str | None,
    scale: float,
    methods: str,
    layer: str | None,
    output: str | None,
    out: str | None,
    random_weights: bool,
    limits: Limits,
    as_json: bool,
) -> None:
    """Draw which pixels of IMAGE the score of a class depends on.

    Writes IMAGE, its saliency map and both laid over each other side by side; prints the five best classes and the
    time taken. A pixel's saliency is the largest absolute derivative, over its channels, of the class's score before
    a final softmax (Simonyan, Vedaldi & Zisserman 2013); --method takes other ways, or several, and writes IMAGE and a
    labelled map of each. A .caffemodel that holds its own definition can stand for MODEL, and then WEIGHTS may be left
    out.
    """
    chosen = [named(name) for name in methods.split(",")]
    weights, image_path = _weights_and_image(model, files, random_weights)
    image = io.load_image(image_path)
    net = load_net(model, weights, limits, random_weights=random_weights)
    with net:
        shape = net.blob(net.inputs[0]).shape
        preprocess = preprocess_of(shape, mean, scale)
        described = preprocess.describe(shape[1:])
        data = preprocess.apply(image, shape[1:])
        result = _explain(net, data, target, labels, output)
        maps = _maps(net, data, preprocess, chosen, result, layer, output)
    destination = out or f"{Path(image_path).stem}-saliency.png"
    captions = (Path(image_path).name, f"saliency: {result.classes.name(result.target)}", "overlay, smoothed")
    if maps:
        pictures.save(pictures.grid(_rows(pictures.Panel(maps[0].picture(), captions[0]), maps)), destination)
    else:
        panels = pictures.triptych(pictures.to_picture(image), result.map, captions)
        pictures.save(pictures.grid([panels]), destination)
    if random_weights:
        click.echo("Warning: the weights are random, the classes and the map mean nothing", err=True)
    if not result.map.any():
        click.echo("Warning: the gradient is zero everywhere, the map is black; try another --target", err=True)
    if as_json:
        click.echo(json.dumps(_report(result, described, destination), indent=2))
    else:
        _print(result, described, destination)


@dataclass(frozen=True)
class _Result:
    classes: Classes
    target: int
    map: Floats
    forward: Timed[Any]
    gradient: Timed[Floats]


def _explain(net: Net, data: Floats, target: str, labels: str | None, output: str | None) -> _Result:
    net.blob(net.inputs[0]).data[...] = data
    forward = timed(net.forward)
    values = class_values(net, output)[0]
    classes = Classes(values, read_labels(labels, len(values)) if labels else None)
    score = class_score(net, find_target(target, classes.labels), output=output)
    gradient = timed(lambda: score_gradient(net, score))
    return _Result(classes, score.classes[0], channel_maximum(gradient.value)[0], forward, gradient)


def _maps(
    net: Net,
    data: Floats,
    preprocess: Preprocess,
    chosen: Sequence[Method],
    result: _Result,
    layer: str | None,
    output: str | None,
) -> list[Saliency]:
    """A map of each method; none where the triptych of the gradient is what is wanted."""
    if [method.name for method in chosen] == ["gradient"] and layer is None:
        return []
    net.labels = result.classes.labels
    options: dict[str, Any] = {"layer": layer, "output": output, "preprocess": preprocess}
    with bar(len(chosen), "map") as progress:
        maps = []
        for method in chosen:
            maps.append(method(net, data, result.target, **options))
            progress()
    return maps


def _rows(picture: pictures.Panel, maps: Sequence[Saliency]) -> list[list[pictures.Panel]]:
    """The picture, then each map beside its overlay, four methods a row."""
    cells = []
    for one in maps:
        cells.append([one.panel(longest=_SIDE), pictures.Panel(one.overlay(longest=_SIDE), "overlay, smoothed")])
    rows = [[panel for cell in cells[i : i + 3] for panel in cell] for i in range(0, len(cells), 3)]
    rows[0].insert(0, pictures.Panel(pictures.enlarged(picture.picture, _SIDE), picture.caption))
    return rows


def _weights_and_image(model: str, files: tuple[str, ...], random_weights: bool) -> tuple[str | None, str]:
    if len(files) > 2 or (random_weights and len(files) > 1):
        expected = "only IMAGE, with --random-weights" if random_weights else "WEIGHTS and IMAGE"
        raise click.UsageError(f"Expected {expected} after MODEL, got {', '.join(files)}.")
    if len(files) == 1 and not (random_weights or model.endswith(".caffemodel")):
        raise click.UsageError(
            f"Expected WEIGHTS and IMAGE after MODEL, got only {files[0]}. Give the trained .caffemodel, or say "
            "--random-weights to run without one."
        )
    return (files[0] if len(files) == 2 else None), files[-1]


def _report(result: _Result, described: str, destination: str) -> dict[str, object]:
    return {
        "input": described,
        "top": [result.classes.entry(i) for i in result.classes.top(_TOP)],
        "target": result.classes.entry(result.target),
        "forward_ms": round(result.forward.ms, 3),
        "gradient_ms": round(result.gradient.ms, 3),
        "picture": destination,
    }


def _print(result: _Result, described: str, destination: str) -> None:
    classes = result.classes
    click.echo(f"input    {described}")
    for rank, i in enumerate(classes.top(_TOP), 1):
        click.echo(f"top {rank}    {classes.values[i]:9.4f}  {classes.numbered(i)}")
    click.echo(f"target   {classes.numbered(result.target)}")
    click.echo(f"time     forward {result.forward}, gradient {result.gradient}")
    click.echo(f"picture  {destination}: the image, its saliency map, both laid over each other")
