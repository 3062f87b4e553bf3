"""Commands that put many pictures through a net: their arguments and options, and batches with a progress bar."""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from caffepy import io
from caffepy.cli.options import PLACE_OPTIONS, WEIGHTS_ENDINGS, NetChoice
from caffepy.data.files import read_file
from caffepy.errors import ArgumentError
from caffepy.io.pictures import Array
from caffepy.limits import Limits
from caffepy.pycaffe.picture_net import PictureNet
from caffepy.saliency.preprocess import IMAGENET_MEAN, preprocess_of

P = TypeVar("P", bound=PictureNet)


@dataclass(frozen=True)
class PictureJob:
    """Pictures' files, the net for them, and how they are brought into its form."""

    net: NetChoice
    files: list[str]
    mean: str | None
    scale: float
    batch: int

    def open(self, kind: type[P]) -> tuple[P, str]:
        """The net, its transformer set up, and the input it takes in words."""
        net = kind(self.net.model, self.net.weights, device=self.net.device, limits=self.net.limits)  # type: ignore[arg-type]
        in_ = net.inputs[0]
        preprocess = preprocess_of(net.blob(in_).shape, self.mean, self.scale)
        preprocess.configure(net.transformer, in_)
        return net, preprocess.describe(net.blob(in_).shape[1:])

    def batches(self, net: PictureNet, each: int = 1) -> Iterator[tuple[list[str], list[Array]]]:
        """Files and pictures, as many at once as a pass takes if each needs `each` items; the net is reshaped to it.

        On a terminal a bar shows how far it is.
        """
        from tqdm import tqdm

        at_once = min(len(self.files), max(1, self.batch // each))
        color = _resize_batch(net, at_once * each) == 3
        with tqdm(total=len(self.files), unit="image", disable=None, leave=False) as bar:
            for first in range(0, len(self.files), at_once):
                files = self.files[first : first + at_once]
                yield files, [io.load_image(file, color=color) for file in files]
                bar.update(len(files))


def picture_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command MODEL, WEIGHTS, IMAGE... and the options of a PictureJob, which it gets as `job`."""

    @functools.wraps(command)
    def with_job(
        model: str,
        files: tuple[str, ...],
        listed: str | None,
        mean: str | None,
        scale: float,
        batch: int,
        gpu: int | None,
        limits: Limits,
        **rest: Any,
    ) -> Any:
        weights = files[0] if files and files[0].endswith(WEIGHTS_ENDINGS) else None
        if weights is None and not model.endswith(WEIGHTS_ENDINGS):
            raise click.UsageError("Expected WEIGHTS after MODEL: give the trained .caffemodel.")
        images = [*files[weights is not None :], *(_read_list(listed) if listed else [])]
        if not images:
            raise click.UsageError("Expected an IMAGE at least, after WEIGHTS or in the file that --list names.")
        return command(
            PictureJob(NetChoice(model, weights, gpu=gpu, limits=limits), images, mean, scale, batch), **rest
        )

    decorators = [
        click.argument("model", metavar="MODEL"),
        click.argument("files", nargs=-1, metavar="[WEIGHTS] IMAGE..."),
        click.option("--list", "listed", metavar="FILE", help="A text file with the name of a picture in each line."),
        click.option(
            "--mean",
            metavar="B,G,R|FILE",
            help="What is subtracted: a number a channel, a .npy or .binaryproto file, or none. "
            f"[default: {IMAGENET_MEAN} for 3 channels at scale 255]",
        ),
        click.option("--scale", default=255.0, show_default=True, help="The value of white in the net's input."),
        click.option("--batch", type=click.IntRange(1), default=10, show_default=True, help="Items in a pass."),
        *PLACE_OPTIONS,
    ]
    for decorator in reversed(decorators):
        with_job = decorator(with_job)
    return with_job


def _read_list(path: str) -> list[str]:
    """The lines' file names; a label behind, as ImageData layers' lists have, is dropped; relative to the list."""
    try:
        lines = read_file(path).decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ArgumentError(f"--list: {path!r} is no UTF-8 text ({error}); give a file name in each line") from error
    names = [line.strip() for line in lines if line.strip()]
    return [str(Path(path).parent / _without_label(name)) for name in names]


def _without_label(line: str) -> str:
    name, _, label = line.rpartition(" ")
    return name.rstrip() if name and label.lstrip("-").isdigit() else line


def _resize_batch(net: PictureNet, items: int) -> int:
    """Reshape every input to that many items; the pictures' channels."""
    for name in net.inputs:
        blob = net.blob(name)
        blob.reshape(items, *blob.shape[1:])
    net.reshape()
    return int(net.blob(net.inputs[0]).shape[1])


def only_output(net: PictureNet, outputs: Sequence[str]) -> str:
    """The one blob that names the classes."""
    if len(outputs) != 1:
        raise ArgumentError(
            f"the net has the outputs {', '.join(outputs) or 'none'}; classes are read from one. Take the others out "
            "of the prototxt, or write what you want with extract-features --blob"
        )
    return outputs[0]
