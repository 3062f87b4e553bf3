"""What is differentiated: the score of a class, as a blob and the diff to inject there."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from caffepy.blob import Floats
from caffepy.errors import ArgumentError
from caffepy.net import Net
from caffepy.net.gradient import VersionName

Target = int | Sequence[int] | Literal["top"]
"""A class index, one for each image of the batch, or each image's class of the highest score."""


@dataclass(frozen=True)
class Score:
    """S = <diff, blob>: the sum over the batch of each image's score."""

    blob: VersionName
    """Where `diff` is injected."""
    diff: Floats
    """Of the blob's shape, images first."""
    classes: tuple[int, ...]
    """Each image's class."""


def class_score(net: Net, target: Target = "top", *, output: str | None = None, before_softmax: bool = True) -> Score:
    """The score of each image's target class: S = sum over positions of output[n, class, ...].

    output          a blob of shape (N, C) or (N, C, ...), N images and C classes; default: the net's only output
    before_softmax  where a Softmax layer writes `output`, take the score that enters it, unnormalised, as Simonyan,
                    Vedaldi & Zisserman do (arXiv 1312.6034, section 3): the probability of a class also rises when
                    the other classes' scores fall

    Raises ArgumentError for a target out of range, the wrong number of targets or an output of another shape.
    """
    version = class_blob(net, output, before_softmax=before_softmax)
    blob = version if isinstance(version, str) else version[0]
    classes = _classes(target, class_values(net, blob))
    return Score(version, one_hot(net.blob(blob).shape, classes), classes)


def class_blob(net: Net, output: str | None = None, *, before_softmax: bool = True) -> VersionName:
    """The blob of class scores that `class_score` differentiates."""
    name = only(net.outputs, "output") if output is None else output
    return _before_softmax(net, name) if before_softmax else name


def one_hot(shape: Sequence[int], classes: Sequence[int]) -> Floats:
    """A diff of (N, C, ...): 1 in each image's class, at all its positions, else 0."""
    diff = np.zeros(shape, np.float32)
    diff[np.arange(len(classes)), list(classes)] = 1
    return diff


def class_values(net: Net, output: str | None = None) -> Floats:
    """Each image's value of each class, (N, C): `output` (default: the net's only one), averaged over positions."""
    name = only(net.outputs, "output") if output is None else output
    values = net.blob(name).read()
    if values.ndim < 2 or 0 in values.shape:
        raise ArgumentError(
            f"blob {name!r} has shape {values.shape}, which is none of class scores: (N, C) or (N, C, height, width); "
            "choose the blob with `output`"
        )
    averages: Floats = values.reshape(*values.shape[:2], -1).mean(axis=2)
    return averages


def only(names: Sequence[str], what: Literal["input", "output"]) -> str:
    """The one name there is; raises ArgumentError where there are several, or none."""
    if len(names) != 1:
        found = ", ".join(map(repr, names)) or "none"
        choose = "output" if what == "output" else "wrt"
        raise ArgumentError(f"expected a net with one {what}, found {found}; choose a blob with `{choose}`")
    return names[0]


def _before_softmax(net: Net, output: str) -> VersionName:
    net.blob(output)
    wiring = net.wiring
    writer = wiring.versions(wiring.blobs.index(output))[-1][0]
    if net.execution.layers[writer].type != "Softmax":
        return output
    source = wiring.sources[writer][0]
    return wiring.blobs[wiring.blob(source)], net.execution.layers[source[0]].name


def _classes(target: Target, values: Floats) -> tuple[int, ...]:
    images, count = values.shape
    if isinstance(target, str):
        if target != "top":
            raise ArgumentError(f"target is {target!r}; expected a class index, one for each image, or 'top'")
        return tuple(int(c) for c in values.argmax(axis=1))
    given = [target] * images if np.ndim(target) == 0 else list(target)  # type: ignore[arg-type]
    if len(given) != images:
        raise ArgumentError(f"{len(given)} targets for a batch of {images} image(s); give one, or one for each")
    try:
        classes = tuple(operator.index(c) for c in given)  # type: ignore[arg-type]
    except TypeError:
        raise ArgumentError(f"target is {target!r}; expected whole numbers, or 'top'") from None
    for c in classes:
        if not 0 <= c < count:
            raise ArgumentError(f"target {c} is out of range: the net has {count} classes, give 0 to {count - 1}")
    return classes
