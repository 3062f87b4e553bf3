"""From a picture's values to the net's input."""

from dataclasses import dataclass

import numpy as np

from caffepy.blob import Floats, Shape
from caffepy.data.bilinear import resize
from caffepy.data.transform import Values
from caffepy.errors import ArgumentError, DataError
from caffepy.saliency.preprocess import Preprocess, preprocess_of


@dataclass(frozen=True, eq=False)
class Preparation:
    """Pictures as Caffe's data layers take them: BGR bytes, resized with OpenCV's arithmetic, * scale / 255 - mean.

    shape   (channels, height, width) of the net's input
    mean    (channels, 1, 1) or of `shape`; None is none
    resized whether a picture of another size is resized, or an error
    """

    shape: Shape
    scale: float = 255.0
    mean: Floats | None = None
    resized: bool = True

    @property
    def color(self) -> bool | None:
        """How encoded pictures are decoded: in colour, in grey, or as they are."""
        return {1: False, 3: True}.get(self.shape[0])

    def apply(self, values: Values) -> Floats:
        """(channels, height, width) -> float32 of `shape`. Raises DataError for what does not fit."""
        if values.shape != self.shape:
            values = self._fitted(values)
        data = np.empty(self.shape, np.float32)
        np.multiply(values, np.float32(self.scale / 255), out=data, dtype=np.float32)
        if self.mean is not None:
            data -= self.mean
        return data

    def _fitted(self, values: Values) -> Values:
        if values.shape[0] == self.shape[0] and self.resized and values.dtype == np.uint8:
            picture = np.asarray(values, np.uint8).transpose(1, 2, 0)
            return resize(picture, *self.shape[1:]).transpose(2, 0, 1)
        found, wanted = ("x".join(map(str, shape)) for shape in (values.shape, self.shape))
        advice = "" if self.resized else "; without resizing, all pictures must have that size"
        raise DataError(f"its values are {found}, and the net takes {wanted}{advice}")

    def preprocess(self) -> Preprocess | None:
        """The same as saliency's, which turns inputs back into pictures; None for what is no picture."""
        mean = self.mean if self.mean is None or self.mean.shape == self.shape else self.mean.reshape(-1)
        return None if self.color is None else Preprocess(self.scale, mean)


def preparation(shape: Shape, mean: str | None, scale: float, *, resized: bool) -> Preparation:
    """What a mean in words says, see `preprocess_of`, for an input (N, channels, height, width).

    Raises ArgumentError for an input of other axes, and where a mean does not fit.
    """
    if len(shape) != 4:
        raise ArgumentError(f"the net's input has shape {shape}; pictures need (N, channels, height, width)")
    item = shape[1:]
    if item[0] not in (1, 3):  # no picture, but a Datum's values
        if mean not in (None, "none"):
            raise ArgumentError(f"--mean {mean}: the net's input has {item[0]} channels; a mean is for 1 or 3")
        return Preparation(item, scale, None, resized)
    found = preprocess_of(shape, mean, scale).mean
    if found is not None:
        found = np.asarray(found, np.float32)
        found = found.reshape(-1, 1, 1) if found.ndim == 1 else found
    return Preparation(item, scale, found, resized)
