"""What Classifier and Detector are made of: a net that takes pictures, and how it takes them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from caffepy.errors import ArgumentError
from caffepy.io import Transformer
from caffepy.io.pictures import Array
from caffepy.proto.caffe_pb2 import TEST
from caffepy.proto.files import as_path
from caffepy.pycaffe import Net
from caffepy.pycaffe.arguments import Path


class PictureNet(Net):
    """A net in the TEST phase whose first input takes pictures, through `transformer`.

    mean, input_scale, raw_scale and channel_swap are the Transformer's; what is None is not done.
    """

    def __init__(
        self,
        model_file: Path,
        pretrained_file: Path,
        mean: npt.ArrayLike | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
        **beyond: Any,
    ) -> None:
        super().__init__(model_file, TEST, weights=pretrained_file, **beyond)
        if not self.inputs:
            raise ArgumentError(
                f"{type(self).__name__}: {as_path(model_file, 'model')} has no input to put pictures into; give a "
                "deploy prototxt, which has an Input layer instead of one that reads files"
            )
        in_ = self.inputs[0]
        shape = self.blobs[in_].data.shape
        if len(shape) != 4:
            raise ArgumentError(
                f"{type(self).__name__}: input {in_!r} is of shape {shape}; expected (num, channels, height, width)"
            )
        self.transformer = Transformer({in_: shape})
        self.transformer.set_transpose(in_, (2, 0, 1))
        if mean is not None:
            self.transformer.set_mean(in_, mean)
        if input_scale is not None:
            self.transformer.set_input_scale(in_, input_scale)
        if raw_scale is not None:
            self.transformer.set_raw_scale(in_, raw_scale)
        if channel_swap is not None:
            self.transformer.set_channel_swap(in_, channel_swap)

    def outputs_of(self, pictures: Sequence[Array]) -> Array:
        """The first output for each picture (height, width, channels), preprocessed and run batch by batch."""
        in_ = self.inputs[0]
        inputs: dict[str, Any] = {in_: np.stack([self.transformer.preprocess(in_, picture) for picture in pictures])}
        outputs: Array = self.forward_all(**inputs)[self.outputs[0]]
        return outputs
