"""What commands that explain a net have in common: which net, its labels, and how pictures go into it."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click

from caffepy import Net
from caffepy.cli.classes import find_target
from caffepy.cli.model import load_net
from caffepy.cli.options import ALLOW_OPTION, WEIGHTS_ENDINGS
from caffepy.limits import Limits
from caffepy.saliency.labels import read_labels
from caffepy.saliency.preprocess import IMAGENET_MEAN, preprocess_of


@dataclass(frozen=True)
class Explained:
    """A net to be explained, and what is to be explained of it."""

    model: str
    weights: str | None
    files: tuple[str, ...]
    """What stands behind MODEL and WEIGHTS."""
    target: str
    labels: str | None
    mean: str | None
    scale: float
    limits: Limits

    @contextmanager
    def net(self) -> Iterator[Net]:
        """The net, with labels and preprocessing."""
        with load_net(self.model, self.weights, self.limits) as net:
            net.preprocess = preprocess_of(net.blob(net.inputs[0]).shape, self.mean, self.scale)
            net.labels = read_labels(self.labels) if self.labels else None
            yield net

    def chosen(self, net: Net) -> Any:
        """What --target means."""
        return find_target(self.target, net.labels)


def explained_options(*files: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command MODEL, WEIGHTS, these further files, and the options of an Explained, which it gets as `of`."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def with_net(
            model: str,
            files_given: tuple[str, ...],
            target: str,
            labels: str | None,
            mean: str | None,
            scale: float,
            limits: Limits,
            **rest: Any,
        ) -> Any:
            given = list(files_given)
            weights = given.pop(0) if given and given[0].endswith(WEIGHTS_ENDINGS) else None
            if weights is None and not model.endswith(WEIGHTS_ENDINGS):
                raise click.UsageError("Expected WEIGHTS after MODEL: give the trained .caffemodel.")
            if len(given) != len(files):
                raise click.UsageError(f"Expected {' '.join(files) or 'nothing more'} after WEIGHTS, got {given}.")
            return command(Explained(model, weights, tuple(given), target, labels, mean, scale, limits), **rest)

        decorators = [
            click.argument("model", metavar="MODEL"),
            click.argument("files_given", nargs=-1, metavar=" ".join(["[WEIGHTS]", *files])),
            click.option("--target", default="top", show_default=True, help="The class: its index, its name, or top."),
            click.option("--labels", metavar="FILE", help="The classes' names, one a line, such as synset_words.txt."),
            click.option(
                "--mean",
                metavar="B,G,R|FILE",
                help="What is subtracted: a number a channel, a .npy or .binaryproto file, or none. "
                f"[default: {IMAGENET_MEAN} for 3 channels at scale 255]",
            ),
            click.option("--scale", default=255.0, show_default=True, help="The value of white in the net's input."),
            ALLOW_OPTION,
        ]
        for decorator in reversed(decorators):
            with_net = decorator(with_net)
        return with_net

    return decorate


@contextmanager
def bar(total: int, unit: str) -> Iterator[Callable[[], object]]:
    """A progress bar on a terminal; call what it gives once for each of `total`."""
    from tqdm import tqdm

    with tqdm(total=total, unit=unit, disable=None, leave=False) as shown:
        yield lambda: shown.update(1)
