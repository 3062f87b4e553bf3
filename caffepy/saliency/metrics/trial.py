"""What metrics that ask the net have in common: scores of changed images, in batches."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from caffepy import device
from caffepy.blob import Floats
from caffepy.errors import ArgumentError
from caffepy.net import Net
from caffepy.saliency.subject import Subject, opened, uploaded
from caffepy.saliency.target import Target


@dataclass(frozen=True)
class Trial:
    """One image, its target, and the scores of others like it."""

    subject: Subject

    @property
    def image(self) -> Floats:
        """(channels, height, width)"""
        found: Floats = device.downloaded(self.subject.images)[0]
        return found

    def scores(self, images: Sequence[Floats] | Floats) -> Floats:
        """The target's score of each image."""
        found = np.empty(len(images), np.float32)
        for part in self.subject.chunks(len(images)):
            batch = uploaded(np.stack([images[i] for i in part]))
            found[part.start : part.stop] = self.subject.on(batch, [0] * len(part)).scores()[0]
        return found


@contextmanager
def trial(net: Net, image: Any, target: Target, *, before_softmax: bool, **arguments: Any) -> Iterator[Trial]:
    """A trial on one image and one target; raises ArgumentError for more."""
    with opened(net, image, target, before_softmax=before_softmax, **arguments) as subject:
        if subject.shape[0] != 1 or len(subject.goals) != 1:
            raise ArgumentError("a metric takes one image and one target at a time")
        yield Trial(subject)


def as_map(values: npt.ArrayLike) -> Floats:
    """(height, width); a Saliency's one map at its image's size."""
    if hasattr(values, "upsampled"):
        values = values.upsampled()
    array = np.asarray(values, np.float32)
    array = array[0] if array.ndim == 3 and len(array) == 1 else array
    if array.ndim != 2 or not np.isfinite(array).all():
        raise ArgumentError(f"a metric takes one map (height, width) of finite values, got shape {array.shape}")
    return array


def as_values(values: npt.ArrayLike, shape: Sequence[int]) -> Floats:
    """Attributions of the image's shape (channels, height, width); a map is shared out to the channels."""
    array: Floats = values.numpy() if hasattr(values, "numpy") else np.asarray(values, np.float32)
    if array.ndim == 4 and array.shape == (1, *shape):
        return np.asarray(array[0])
    if array.shape == tuple(shape):
        return np.asarray(array, np.float32)
    wide = as_map(values)
    if wide.shape != tuple(shape[1:]):
        raise ArgumentError(f"the map is {wide.shape}, the image {tuple(shape)}; give a map of the image's size")
    return np.repeat(wide[np.newaxis] / shape[0], shape[0], axis=0)
