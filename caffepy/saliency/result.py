"""What a method gives: an array on the device, what was computed, and how it is looked at."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from caffepy import device
from caffepy.blob import Floats
from caffepy.errors import ArgumentError
from caffepy.net import Net
from caffepy.saliency import pictures
from caffepy.saliency.parameters import whole_number
from caffepy.saliency.preprocess import Preprocess, preprocess_of
from caffepy.saliency.subject import Subject, zeros

Fold = Literal["largest", "sum"]
"""How channels become one map: the largest absolute value, or the signed sum."""


@dataclass(frozen=True, eq=False)
class Saliency:
    """Maps for N images: their values, and what they are of."""

    array: Any
    """On the device: (N, channels, height, width) of the blob explained, or (N, height, width)."""
    method: str
    parameters: Mapping[str, Any]
    target: tuple[str, ...]
    """Each image's target in words."""
    classes: tuple[int, ...] | None
    score: Floats
    """Each image's score."""
    fold: Fold
    images: Floats
    """The net's input, (N, channels, height, width)."""
    preprocess: Any = field(default=None, repr=False)

    @property
    def signed(self) -> bool:
        """Whether values below zero speak against the target; otherwise maps are at least 0."""
        return self.fold == "sum"

    def numpy(self) -> Floats:
        """The array on the host."""
        return device.downloaded(self.array)

    def __array__(self, dtype: Any = None, copy: Any = None) -> npt.NDArray[Any]:
        """The array on the host, for NumPy."""
        return np.array(self.numpy(), dtype)

    def __repr__(self) -> str:
        of = ", ".join(f"{name} {score:.4g}" for name, score in zip(self.target, self.score, strict=True))
        return f"<Saliency {self.method} {tuple(self.array.shape)}: {of}>"

    def __len__(self) -> int:
        return int(self.array.shape[0])

    def maps(self) -> Floats:
        """(N, height, width): the channels folded, at the resolution of the blob explained."""
        values = self.numpy()
        if values.ndim == 2:
            return values.reshape(*values.shape, 1)
        if values.ndim == 3:
            return values
        if self.fold == "sum":
            return np.asarray(values.sum(axis=1), np.float32)
        return np.asarray(np.abs(values).max(axis=1), np.float32)

    def upsampled(self) -> Floats:
        """(N, height, width): `maps` at the images' size, bilinearly."""
        return np.stack([pictures.resize(one, (self.images.shape[2], self.images.shape[3])) for one in self.maps()])

    def picture(self, image: int = 0) -> pictures.Picture:
        """The image that was explained, as a picture."""
        if not 0 <= whole_number("image", image) < len(self):
            raise ArgumentError(f"image is {image}; there are {len(self)} maps, give 0 to {len(self) - 1}")
        return pictures.to_picture(shown(self.images[image], self.preprocess))

    def panel(self, image: int = 0, *, longest: int = 480) -> pictures.Panel:
        """The map alone, in colours, with a line that says what it is."""
        picture, values = self.picture(image), self.upsampled()[image]
        caption = f"{self.method}: {self.target[image]}"
        return pictures.Panel(pictures.drawn(values, picture.shape[:2], longest, signed=self.signed), caption)

    def overlay(self, image: int = 0, *, longest: int = 480) -> pictures.Picture:
        """The map over its image."""
        return pictures.laid_over(self.picture(image), self.upsampled()[image], longest, signed=self.signed)

    def save(self, path: str | PathLike[str], *, longest: int = 480) -> None:
        """Write a picture: for each image, the image, its map and both laid over each other.

        Raises ArgumentError for a suffix Pillow cannot write, MissingFileError where the file cannot be written.
        """
        rows = []
        for n in range(len(self)):
            picture = pictures.Panel(pictures.enlarged(self.picture(n), longest), f"score {self.score[n]:.4g}")
            over = pictures.Panel(self.overlay(n, longest=longest), "overlay, smoothed")
            rows.append([picture, self.panel(n, longest=longest), over])
        pictures.save(pictures.grid(rows), path)

    def _repr_png_(self) -> bytes:
        """For notebooks."""
        rows = [[self.panel(n, longest=240), pictures.Panel(self.overlay(n, longest=240))] for n in range(len(self))]
        return pictures.png(pictures.grid(rows))


def shown(data: Floats, preprocess: Any) -> Floats:
    """An input (channels, height, width) as an image of 0 to 1, (height, width, channels)."""
    if isinstance(preprocess, Preprocess):
        return preprocess.show(data)
    if preprocess is not None:
        in_ = next(iter(preprocess.inputs))
        return np.clip(np.asarray(preprocess.deprocess(in_, data), np.float32), 0, 1)
    if data.shape[0] in (1, 3) and np.abs(data).max() > 2:
        return preprocess_of((1, *data.shape)).show(data)
    low, high = data.min(), data.max()
    grey = (data if data.shape[0] in (1, 3) else data.mean(axis=0, keepdims=True)) - low
    return np.asarray(grey / max(high - low, 1e-12), np.float32).transpose(1, 2, 0)


def of_subject(
    net: Net,
    method: str,
    parameters: Mapping[str, Any],
    arrays: list[Any],
    subject: Subject,
    fold: Fold,
    preprocess: Any,
) -> Saliency:
    """The arrays of each goal, (N, ...), as one result: goal by goal for one image, else image by image of one goal."""
    images = subject.shape[0]
    joined = arrays[0]
    if len(arrays) > 1:
        joined = zeros((len(arrays) * images, *arrays[0].shape[1:]))
        for g, array in enumerate(arrays):
            device.current().copy(array, joined[g * images : (g + 1) * images])
    scores = subject.scores()
    classes = [goal.classes for goal in subject.goals]
    return Saliency(
        joined,
        method,
        dict(parameters),
        tuple(name for goal in subject.goals for name in goal.names),
        None if None in classes else tuple(c for each in classes for c in each or ()),
        scores.reshape(-1),
        fold,
        np.concatenate([device.downloaded(subject.images)] * len(arrays)),
        preprocess or net.preprocess,
    )
