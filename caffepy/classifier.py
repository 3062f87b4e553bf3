"""pycaffe's Classifier: class probabilities of pictures, averaged over crops."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from caffepy import io
from caffepy.errors import ArgumentError
from caffepy.io.pictures import Array
from caffepy.pycaffe.arguments import Path
from caffepy.pycaffe.picture_net import PictureNet


class Classifier(PictureNet):
    """A net that classifies pictures: resized to `image_dims` (height, width), then cropped to the net's input.

    image_dims  default: the input's own height and width
    mean, input_scale, raw_scale, channel_swap  the Transformer's; what is None is not done
    """

    def __init__(
        self,
        model_file: Path,
        pretrained_file: Path,
        image_dims: Sequence[int] | None = None,
        mean: npt.ArrayLike | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
        **beyond: Any,
    ) -> None:
        super().__init__(model_file, pretrained_file, mean, input_scale, raw_scale, channel_swap, **beyond)
        self.crop_dims = np.array(self.blobs[self.inputs[0]].data.shape[2:])
        self.image_dims = self.crop_dims if image_dims is None else np.array(image_dims)
        if self.image_dims.shape != (2,) or (self.image_dims < self.crop_dims).any():
            raise ArgumentError(
                f"Classifier: image_dims is {image_dims}; expected (height, width) of at least the input's "
                f"{tuple(self.crop_dims.tolist())}"
            )

    def predict(self, inputs: Sequence[npt.ArrayLike], oversample: bool = True) -> Array:
        """The net's output for each picture (height, width, channels): (N, classes).

        oversample  average over the four corners, the centre, and their mirrors; else the centre's output, in the
                    output blob's own shape
        """
        if isinstance(inputs, np.ndarray) and inputs.ndim == 3:
            raise ArgumentError("Classifier.predict: expected a list of pictures, found one: give predict([picture])")
        pictures = [io.resize_image(picture, self.image_dims.tolist()) for picture in inputs]
        if not pictures:
            raise ArgumentError("Classifier.predict: no pictures given; expected a list of (height, width, channels)")
        if oversample:
            outputs = self.outputs_of(list(io.oversample(pictures, self.crop_dims.tolist())))
            means: Array = outputs.reshape(len(pictures), 10, -1).mean(axis=1)
            return means
        (top, left), (height, width) = (self.image_dims - self.crop_dims) // 2, self.crop_dims
        return self.outputs_of([picture[top : top + height, left : left + width] for picture in pictures])
