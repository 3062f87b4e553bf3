"""`caffepy evaluate-saliency`: methods compared by metrics on a folder of pictures."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from caffepy import Net
from caffepy.cli.command import Subcommand
from caffepy.cli.explain.explained import Explained, bar, explained_options
from caffepy.errors import ArgumentError, nearest
from caffepy.saliency import Method, Saliency, metrics, named

_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".gif", ".tif", ".tiff")
Measure = Callable[[Net, str, Saliency, Method], float]


def _target(result: Saliency) -> Any:
    return result.classes[0] if result.classes else "top"


METRICS: dict[str, Measure] = {
    "deletion": lambda net, image, r, m: metrics.deletion(net, image, _positive(r), _target(r)).area,
    "insertion": lambda net, image, r, m: metrics.insertion(net, image, _positive(r), _target(r)).area,
    "morf": lambda net, image, r, m: metrics.pixel_flipping(net, image, _positive(r), _target(r)).area,
    "lerf": lambda net, image, r, m: metrics.pixel_flipping(net, image, _positive(r), _target(r), order="least").area,
    "road": lambda net, image, r, m: metrics.road(net, image, _positive(r), _target(r)),
    "infidelity": lambda net, image, r, m: metrics.infidelity(net, image, _positive(r), _target(r)),
    "sensitivity-n": lambda net, image, r, m: metrics.sensitivity_n(net, image, _positive(r), _target(r)),
    "max-sensitivity": lambda net, image, r, m: metrics.max_sensitivity(net, r.images[0], m, _target(r), samples=3),
    "completeness": lambda net, image, r, m: metrics.completeness_error(net, image, r, _target(r)),
    "sanity": lambda net, image, r, m: min(metrics.sanity_checks(net, image, m, _target(r)).values()),
    "sparseness": lambda net, image, r, m: metrics.sparseness(r),
    "complexity": lambda net, image, r, m: metrics.complexity(r),
}


_OF_METHODS = ("max-sensitivity", "completeness", "sanity")
"""Metrics that a map alone does not have."""


def _positive(result: Saliency) -> Any:
    return result.upsampled()[0]


@click.command("evaluate-saliency", cls=Subcommand)
@explained_options("DIR")
@click.option("--method", "methods", default="gradient,grad-cam", show_default=True, help="Methods, by commas.")
@click.option(
    "--metrics",
    "chosen",
    default="deletion,insertion,sparseness",
    show_default=True,
    help=f"By commas: {', '.join(METRICS)}.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate_saliency(of: Explained, methods: str, chosen: str, as_json: bool) -> None:
    """Measure saliency methods on the pictures in DIR: the mean of each metric.

    For deletion, morf, infidelity, max-sensitivity, completeness, sanity and complexity less is better, else more. Two
    baselines stand beside the methods: a random map, and edges.
    """
    files = _pictures(of.files[0])
    wanted, measured = [named(name) for name in methods.split(",")], _metrics(chosen)
    table: dict[str, dict[str, list[float]]] = {}
    with of.net() as net, bar(len(files) * len(wanted), "map") as progress:
        target = of.chosen(net)
        for file in files:
            for method in wanted:
                result = method(net, file, target)
                row = table.setdefault(method.name, {name: [] for name in measured})
                for name in measured:
                    row[name].append(METRICS[name](net, file, result, method))
                progress()
            for name, baseline in _baselines(result).items():
                row = table.setdefault(name, {metric: [] for metric in measured})
                for metric in measured:
                    if metric not in _OF_METHODS:
                        row[metric].append(METRICS[metric](net, file, baseline, wanted[0]))
    _report(
        {name: {m: float(np.mean(v)) for m, v in row.items() if v} for name, row in table.items()},
        measured,
        len(files),
        as_json,
    )


def _report(means: dict[str, dict[str, float]], measured: list[str], pictures: int, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"pictures": pictures, "methods": means}, indent=2))
        return
    width = max(len(name) for name in means)
    click.echo(f"{'method':{width}}" + "".join(f"  {name:>15}" for name in measured))
    for name, row in means.items():
        cells = (f"{row[metric]:15.4g}" if metric in row else f"{'-':>15}" for metric in measured)
        click.echo(f"{name:{width}}" + "".join(f"  {cell}" for cell in cells))
    click.echo(f"means over {pictures} picture(s)")


def _pictures(folder: str) -> list[str]:
    path = Path(folder)
    if not path.is_dir():
        raise ArgumentError(f"{folder!r} is no folder; give one that holds pictures")
    found = sorted(str(file) for file in path.iterdir() if file.suffix.lower() in _PICTURES)
    if not found:
        raise ArgumentError(f"{folder!r} holds no pictures ({', '.join(_PICTURES)})")
    return found


def _metrics(chosen: str) -> list[str]:
    names = [name.strip().lower() for name in chosen.split(",")]
    for name in names:
        if name not in METRICS:
            raise ArgumentError(f"there is no metric {name!r}{nearest(name, METRICS)}; there are {', '.join(METRICS)}")
    return names


def _baselines(result: Saliency) -> dict[str, Saliency]:
    """A random map, and the size of the image's own gradient: what every method has to beat."""
    from dataclasses import replace

    image = result.images[0]
    rows, columns = np.gradient(image.mean(axis=0))
    maps = {"random": np.random.default_rng(0).random(image.shape[1:]), "edges": np.hypot(rows, columns)}
    return {
        name: replace(result, array=values[np.newaxis].astype(np.float32), method=name, fold="largest")
        for name, values in maps.items()
    }
