"""`caffepy detect`: what a net says of windows of pictures, as pycaffe's detect.py."""

import csv
from pathlib import Path
from typing import Any

import click
import numpy as np

from caffepy.cli.command import Subcommand
from caffepy.cli.options import PLACE_OPTIONS, NetChoice
from caffepy.cli.pictures import PictureJob
from caffepy.data.files import read_file
from caffepy.detector import Detector
from caffepy.errors import ArgumentError
from caffepy.limits import Limits
from caffepy.proto.files import replacing
from caffepy.proto.hdf5 import new_hdf5
from caffepy.saliency.preprocess import IMAGENET_MEAN

_WINDOW = ("ymin", "xmin", "ymax", "xmax")
_HEAD = ["filename", *_WINDOW]


@click.command(cls=Subcommand)
@click.argument("model", metavar="MODEL")
@click.argument("weights", metavar="WEIGHTS")
@click.argument("windows", metavar="WINDOWS.csv")
@click.argument("out", metavar="OUT")
@click.option(
    "--mean",
    metavar="B,G,R|FILE",
    help=f"What is subtracted, or none. [default: {IMAGENET_MEAN} for 3 channels at scale 255]",
)
@click.option("--scale", default=255.0, show_default=True, help="The value of white in the net's input.")
@click.option("--context-pad", type=click.IntRange(0), default=16, show_default=True, help="Pixels around a window.")
@PLACE_OPTIONS[0]
@PLACE_OPTIONS[1]
def detect(
    model: str,
    weights: str,
    windows: str,
    out: str,
    mean: str | None,
    scale: float,
    context_pad: int,
    gpu: int | None,
    limits: Limits,
) -> None:
    """Run a classifier on windows of pictures, each warped to its input.

    WINDOWS.csv has the head filename,ymin,xmin,ymax,xmax and a line for each window, in pixels. OUT is a .csv with a
    column for each of the net's values behind these, or a .h5 with `filename`, `window` and `prediction`.
    """
    if not out.endswith((".csv", ".h5", ".hdf5")):
        raise click.UsageError(f"OUT {out}: the name must end in .csv or .h5.")
    by_image = _read_windows(windows)
    job = PictureJob(NetChoice(model, weights, gpu=gpu, limits=limits), list(by_image), mean, scale, 1)
    net, described = job.open(Detector)
    with net:
        net.configure_crop(context_pad)
        detections = _detect(net, by_image)
    _write(out, detections)
    click.echo(f"input    {described}, context {context_pad} pixels")
    click.echo(f"written  {out}: {len(detections)} windows of {len(by_image)} pictures")


def _detect(net: Detector, by_image: dict[str, list[list[float]]]) -> list[dict[str, Any]]:
    from tqdm import tqdm

    detections = []
    for item in tqdm(by_image.items(), unit="image", disable=None, leave=False):
        detections += net.detect_windows([item])
    return detections


def _read_windows(path: str) -> dict[str, list[list[float]]]:
    """The windows of each picture, named relative to the list."""
    try:
        lines = read_file(path).decode("utf-8").splitlines(keepends=True)
        rows = list(csv.DictReader(lines, skipinitialspace=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ArgumentError(f"windows {path!r} are no CSV text ({error})") from error
    found: dict[str, list[list[float]]] = {}
    for number, row in enumerate(rows, 2):
        try:
            window = [float(row[name]) for name in _WINDOW]
            found.setdefault(str(Path(path).parent / row["filename"]), []).append(window)
        except (KeyError, TypeError, ValueError) as error:
            raise ArgumentError(
                f"windows {path!r}, line {number}: expected {','.join(_HEAD)} as in the head, found {row}"
            ) from error
    if not found:
        raise ArgumentError(f"windows {path!r} has no windows; give the head {','.join(_HEAD)} and a line for each")
    return found


def _write(out: str, detections: list[dict[str, Any]]) -> None:
    names = [detection["filename"] for detection in detections]
    windows = np.array([detection["window"] for detection in detections], np.float32)
    values = np.array([np.ravel(detection["prediction"]) for detection in detections], np.float32)
    with replacing(out) as beside:
        if out.endswith(".csv"):
            with open(beside, "w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow([*_HEAD, *(f"class{i}" for i in range(values.shape[1]))])
                writer.writerows(
                    [name, *window.tolist(), *row.tolist()]
                    for name, window, row in zip(names, windows, values, strict=True)
                )
            return
        import h5py

        with new_hdf5(beside) as file:
            file.create_dataset("filename", data=names, dtype=h5py.string_dtype())
            file.create_dataset("window", data=windows)
            file.create_dataset("prediction", data=values)
