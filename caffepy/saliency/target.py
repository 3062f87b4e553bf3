"""What is explained: a score for each image, as diffs to inject into blobs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from caffepy.blob import Floats, fit
from caffepy.errors import ArgumentError
from caffepy.net import Net
from caffepy.net.gradient import VersionName
from caffepy.saliency.labels import find_class
from caffepy.saliency.parameters import whole_number
from caffepy.saliency.score import class_blob, class_values, one_hot

Diffs = Mapping[VersionName, Any]


@dataclass(frozen=True)
class Goal:
    """S_n = sum over blobs b of <diffs[b][n], b[n]>: one score for each image n."""

    diffs: Diffs
    """Each of the shape of its blob, images first."""
    names: tuple[str, ...]
    """What each image's score is, in words."""
    classes: tuple[int, ...] | None = None
    """Each image's class, if it is one's score."""
    function: Callable[[Net], Diffs] | None = None
    """Gives diffs anew for the blobs of each pass."""

    def take(self, images: Sequence[int]) -> "Goal":
        """The goal for a batch of these images, in this order."""
        rows = list(images)
        return Goal(
            {} if self.function else {name: diff[rows] for name, diff in self.diffs.items()},
            tuple(self.names[i] for i in rows),
            None if self.classes is None else tuple(self.classes[i] for i in rows),
            self.function,
        )

    def now(self, net: Net) -> Diffs:
        """The diffs for what the net's blobs hold."""
        if self.function is None:
            return self.diffs
        given = self.function(net)
        if not isinstance(given, Mapping):
            raise ArgumentError(
                f"a target function takes the net and returns diffs by blob, got {type(given).__name__}; "
                "return {'fc8': array}"
            )
        return {
            name: fit(diff, net.blob(_blob(name)).shape, f"target: diff of {name!r}") for name, diff in given.items()
        }

    def weighted(self, net: Net) -> "Goal":
        """The same with diffs times the blobs' data: each value's part of the score."""
        diffs = {name: diff * net.blob(_blob(name)).read() for name, diff in self.now(net).items()}
        return Goal(diffs, self.names, self.classes)

    def values(self, net: Net) -> Floats:
        """The scores (N,) of what the net's blobs hold."""
        scores = np.zeros(len(self.names), np.float64)
        for name, diff in self.now(net).items():
            data = net.blob(_blob(name)).read()
            scores += np.einsum("ni,ni->n", diff.reshape(len(scores), -1), data.reshape(len(scores), -1))
        return scores.astype(np.float32)


def _blob(name: VersionName) -> str:
    return name if isinstance(name, str) else name[0]


# ---- what a target may be, beside a class by index or name, "top", and a function of the net


@dataclass(frozen=True)
class Top:
    """The `count` classes of the highest scores: a map for each."""

    count: int = 5


@dataclass(frozen=True)
class Unit:
    """A value of a blob, of each image: Unit("fc8", 281), Unit("conv5", 12, 7, 7); fewer indices: the sum of a part."""

    blob: VersionName
    index: tuple[int, ...]

    def __init__(self, blob: VersionName, *index: int) -> None:
        object.__setattr__(self, "blob", blob)
        object.__setattr__(self, "index", tuple(index))

    def goal(self, net: Net, images: int) -> Goal:
        """The goal; raises ArgumentError for an index outside."""
        shape = net.blob(_blob(self.blob)).shape
        for i in self.index:
            whole_number(f"target: an index of {self}", i)
        inside = len(self.index) < len(shape) and all(0 <= i < n for i, n in zip(self.index, shape[1:], strict=False))
        if not inside or shape[0] != images:
            raise ArgumentError(
                f"target: {self.index} is outside blob {_blob(self.blob)!r}, which has shape {shape} for {images} "
                "image(s); give indices behind the first axis"
            )
        diff = np.zeros(shape, np.float32)
        every: tuple[Any, ...] = (slice(None), *self.index)
        diff[every] = 1
        name = f"{_blob(self.blob)}[{', '.join(map(str, self.index))}]"
        return Goal({self.blob: diff}, (name,) * images)


@dataclass(frozen=True)
class Region:
    """A class's score summed over a region of a segmentation net's output.

    mask   (height, width) of truth values, of any size: brought to the output's by the nearest; None: wherever the
           class has the highest score of all
    """

    target: int | str
    mask: npt.ArrayLike | None = None

    def goal(self, net: Net, output: str | None, before_softmax: bool, labels: Sequence[str] | None) -> Goal:
        """The goal; raises ArgumentError where the output has no height and width, or the region is empty."""
        version = class_blob(net, output, before_softmax=before_softmax)
        data = net.blob(_blob(version)).data
        if data.ndim != 4:
            raise ArgumentError(f"target: a region needs an output (N, C, height, width); it has shape {data.shape}")
        index = _index(self.target, labels, data.shape[1])
        if self.mask is None:
            chosen = data.argmax(axis=1) == index
        else:
            mask = np.asarray(self.mask)
            if mask.ndim != 2:
                raise ArgumentError(f"target: a region's mask is (height, width), got shape {mask.shape}")
            rows, columns = (np.arange(n) * m // n for n, m in zip(data.shape[2:], mask.shape, strict=True))
            chosen = np.broadcast_to(mask[np.ix_(rows, columns)] != 0, (len(data), *data.shape[2:]))
        if not chosen.any(axis=(1, 2)).all():
            raise ArgumentError(f"target: the region of class {self.target!r} is empty in this image; give a mask")
        diff = np.zeros(data.shape, np.float32)
        diff[:, index] = chosen
        return Goal({version: diff}, (f"region of {_named(index, labels)}",) * len(data), (index,) * len(data))


@dataclass(frozen=True)
class Position:
    """A class's score at one place (y, x) of an output (N, C, height, width)."""

    target: int | str
    y: int
    x: int


Target = Any
"""int, str, "top", Top, Unit, Position, Region, caffepy.saliency.Box, a function of the net, or a list of those."""


def goals(
    target: Target, net: Net, images: int, *, output: str | None, before_softmax: bool, labels: Sequence[str] | None
) -> list[Goal]:
    """What `target` means for the net's blobs as they are now: several goals where several maps are asked for.

    A list is one target for each image, or for one image several. Raises ArgumentError.
    """

    def one(item: Target) -> Goal:
        if isinstance(item, Unit):
            return item.goal(net, images)
        if isinstance(item, Region):
            return item.goal(net, output, before_softmax, labels)
        if hasattr(item, "unit"):  # a detection
            found: Unit = item.unit(net)
            return found.goal(net, images)
        if isinstance(item, Position):
            version = class_blob(net, output, before_softmax=before_softmax)
            shape = net.blob(_blob(version)).shape
            return Unit(version, _index(item.target, labels, shape[1]), item.y, item.x).goal(net, images)
        if callable(item):
            return Goal({}, ("a function",) * images, None, item)
        return of_classes([item] * images)

    def of_classes(items: Sequence[Any]) -> Goal:
        version = class_blob(net, output, before_softmax=before_softmax)
        values = class_values(net, _blob(version))
        if len(values) != images:
            raise ArgumentError(f"the scores are of {len(values)} images, the input of {images}; choose with `output`")
        best = values.argmax(axis=1)
        indices = tuple(
            int(best[n]) if isinstance(item, str) and item == "top" else _index(item, labels, values.shape[1])
            for n, item in enumerate(items)
        )
        diff = one_hot(net.blob(_blob(version)).shape, indices)
        return Goal({version: diff}, tuple(_named(i, labels) for i in indices), indices)

    if isinstance(target, Top):
        values = class_values(net, _blob(class_blob(net, output, before_softmax=before_softmax)))
        if not 1 <= whole_number("target: the count of Top", target.count) <= values.shape[1]:
            raise ArgumentError(f"target: top {target.count} of {values.shape[1]} classes; give 1 to that many")
        order = np.argsort(-values, axis=1, kind="stable")
        return [of_classes([int(i) for i in order[:, k]]) for k in range(target.count)]
    if isinstance(target, list | tuple) or (isinstance(target, np.ndarray) and target.ndim):
        items = list(target)
        if not all(isinstance(item, str) or np.ndim(item) == 0 for item in items):
            raise ArgumentError(f"target has shape {np.shape(target)}; give one for each image, in a row")
        if images == 1 and items:
            return [one(item) for item in items]
        if len(items) != images or (isinstance(target, np.ndarray) and target.ndim != 1):
            raise ArgumentError(f"{len(items)} targets for a batch of {images} image(s); give one, or one for each")
        return [of_classes(items)]
    return [one(target)]


def _index(item: Any, labels: Sequence[str] | None, classes: int) -> int:
    if isinstance(item, str):
        if labels is None:
            raise ArgumentError(
                f"target {item!r} is a name, and the net has none: set net.labels = [...], or give the index"
            )
        if len(labels) != classes:
            raise ArgumentError(
                f"target {item!r} is a name, and the net has {len(labels)} labels for {classes} classes"
            )
        return find_class(item, labels)
    if isinstance(item, bool) or not hasattr(item, "__index__"):
        raise ArgumentError(
            f"target is {item!r}; expected a class index, a label, 'top', Top, Unit, Position, Region, Box, a function"
        )
    index = item.__index__()
    if not 0 <= index < classes:
        raise ArgumentError(f"target {index} is out of range: the net has {classes} classes, give 0 to {classes - 1}")
    return int(index)


def _named(index: int, labels: Sequence[str] | None) -> str:
    return labels[index] if labels and index < len(labels) else f"class {index}"
