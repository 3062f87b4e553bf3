"""transform_param: crops, mirrors, means and scales (src/caffe/data_transformer.cpp)."""

import os
from typing import NamedTuple

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from caffepy.blob import Floats, Shape
from caffepy.data.files import read_file
from caffepy.errors import DataError, ProtoError
from caffepy.proto.caffe_pb2 import TRAIN, BlobProto, TransformationParameter
from caffepy.proto.stored import blob_array
from caffepy.rng import Mt19937, process

Values = NDArray[np.uint8] | Floats
"""An item's (channels, height, width) before it is transformed."""

_ELSEWHERE = ("resize_param", "noise_param", "distort_param", "expand_param")


class Draws(NamedTuple):
    """What chance says of an item: raw outputs, to be taken modulo what there is to choose from."""

    mirror: int = 0
    down: int = 0
    right: int = 0


class DataTransformer:
    """(channels, height, width) -> (channels, crop, crop) float32: (value - mean) * scale of a crop, maybe mirrored.

    A crop is the centre, in TRAIN anywhere; a mirror flips the width, in TEST too. Raises DataError for settings that
    exclude one another, MissingFileError for a mean_file that is not there.
    """

    def __init__(self, param: TransformationParameter | None = None, phase: int = TRAIN) -> None:
        self.param = param = param or TransformationParameter()
        for name in _ELSEWHERE:
            if len(param.resize_param) if name == "resize_param" else param.HasField(name):
                raise DataError(
                    f"transform_param {name} is SSD's and changes the data; it is not carried out: leave it out"
                )
        if (param.crop_h > 0) != (param.crop_w > 0):
            raise DataError(f"give crop_h and crop_w both, got {param.crop_h} and {param.crop_w}")
        self.crop = (param.crop_h, param.crop_w) if param.crop_h else (param.crop_size, param.crop_size)
        if param.mean_file and param.mean_value:
            raise DataError("give mean_file or mean_value, not both")
        self.mean: Floats | None = None
        if param.HasField("mean_file"):
            self.mean = read_mean(param.mean_file)
        elif param.mean_value:
            self.mean = np.array(param.mean_value, np.float32).reshape(-1, 1, 1)
        self._anywhere = phase == TRAIN and self.crop[0] > 0
        self._random: Mt19937 | None = None

    def seed(self) -> None:
        """Start the transformer's own generator from the process's, if anything is left to chance (InitRand)."""
        if self.param.mirror or self._anywhere:
            self._random = Mt19937(process().draw())

    def draw(self) -> Draws:
        """What chance says of the next item."""
        if self._random is None:
            return Draws()
        draw = self._random.draw
        mirror = draw() if self.param.mirror else 0
        return Draws(mirror, draw(), draw()) if self._anywhere else Draws(mirror)

    def shape(self, item: Shape) -> Shape:
        """The shape that items of shape `item` come out in. Raises DataError where the settings do not fit them."""
        channels, height, width = item
        crop_height, crop_width = self.crop if self.crop[0] else (height, width)
        if min(item) < 1:
            raise DataError(f"{channels} channels of {height} x {width} hold nothing")
        if height < crop_height or width < crop_width:
            raise DataError(f"{height} x {width} pixels are smaller than the crop, {crop_height} x {crop_width}")
        if self.param.HasField("mean_file"):
            if self.mean is not None and self.mean.shape != item:
                raise DataError(f"mean_file {self.param.mean_file!r} has shape {self.mean.shape}, an item {item}")
        elif self.mean is not None and len(self.mean) not in (1, channels):
            raise DataError(f"{len(self.mean)} mean_value for {channels} channels; give one, or one for each")
        return channels, crop_height, crop_width

    def apply(self, item: Values, draws: Draws, out: Floats) -> None:
        """out = the transformed item."""
        down, right = item.shape[1] - out.shape[1], item.shape[2] - out.shape[2]
        if self._anywhere:
            down, right = draws.down % (down + 1), draws.right % (right + 1)
        else:
            down, right = down // 2, right // 2
        window = np.s_[:, down : down + out.shape[1], right : right + out.shape[2]]
        mirrored = np.s_[:, :, :: -1 if draws.mirror % 2 else 1]
        values = item[window][mirrored]
        if self.mean is None:
            np.copyto(out, values)
        else:
            whole = self.mean.shape == item.shape
            np.subtract(values, self.mean[window][mirrored] if whole else self.mean, out=out, dtype=np.float32)
        if self.param.scale != 1:
            out *= np.float32(self.param.scale)


def read_mean(path: str | os.PathLike[str]) -> Floats:
    """The (channels, height, width) of a mean.binaryproto. Raises MissingFileError, or DataError for another file."""
    name = f"mean_file {os.fspath(path)!r}"
    try:
        mean = blob_array(BlobProto.FromString(read_file(path)))
    except (DecodeError, ProtoError) as error:
        raise DataError(f"{name} is no BlobProto: {error}") from error
    if mean.ndim < 3 or any(extent != 1 for extent in mean.shape[:-3]):
        raise DataError(f"{name} has shape {mean.shape}; a mean is channels x height x width")
    return mean.reshape(mean.shape[-3:])
