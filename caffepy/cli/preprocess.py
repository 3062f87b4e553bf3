"""From a picture's file to a net's input, as pycaffe's classification scripts do it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError

from caffepy import io
from caffepy.blob import Floats, Shape
from caffepy.errors import ArgumentError, MissingFileError, ProtoError
from caffepy.proto.caffe_pb2 import BlobProto

IMAGENET_MEAN = "104,117,123"
"""B, G, R on a scale of 0 to 255: what most published ImageNet nets in Caffe's format were trained with."""


@dataclass(frozen=True)
class Preprocessing:
    """image of 0 to 1 -> resized, channels first, BGR if there are three, * scale, - mean."""

    shape: Shape
    """(channels, height, width)."""
    scale: float = 255.0
    mean: Floats | None = None
    """(channels,) or of `shape`, in the order of the net's channels."""

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or self.shape[0] not in (1, 3):
            raise ArgumentError(
                f"the net's input is {self.shape} for one image; expected 1 or 3 channels, height and width"
            )

    def apply(self, image: Floats) -> Floats:
        """An image (height, width, 1 or 3) as load_image gives it -> (1, channels, height, width)."""
        if image.shape[2] != self.shape[0]:
            image = np.repeat(image, 3, axis=2) if self.shape[0] == 3 else io.luminance(image)
        transformer = io.Transformer({"data": (1, *self.shape)})
        self.configure(transformer, "data")
        return np.asarray(transformer.preprocess("data", image), np.float32)[np.newaxis]

    def configure(self, transformer: io.Transformer, in_: str) -> None:
        """Let a Transformer do it to pictures of as many channels."""
        transformer.set_transpose(in_, (2, 0, 1))
        if self.shape[0] == 3:
            transformer.set_channel_swap(in_, (2, 1, 0))
        transformer.set_raw_scale(in_, self.scale)
        if self.mean is not None:
            transformer.set_mean(in_, self.mean)

    def describe(self) -> str:
        """In words, for the user to check."""
        order = "BGR" if self.shape[0] == 3 else "gray"
        if self.mean is None:
            mean = "no mean"
        elif self.mean.ndim == 1:
            mean = "mean " + ",".join(f"{value:g}" for value in self.mean)
        else:
            mean = f"mean image {'x'.join(map(str, self.mean.shape))}"
        return f"{'x'.join(map(str, self.shape))}, {order}, scale {self.scale:g}, {mean}"


def preprocessing_of(shape: Shape, mean: str | None, scale: float) -> Preprocessing:
    """What --mean and --scale say for an input of `shape`, (N, channels, height, width).

    Without --mean it is ImageNet's for three channels at scale 255, and else none.
    """
    item = shape[1:]
    if mean is None:
        mean = IMAGENET_MEAN if item[:1] == (3,) and scale == 255 else "none"
    return Preprocessing(item, scale, None if mean == "none" else read_mean(mean, item))


def read_mean(text: str, shape: Shape) -> Floats:
    """`104,117,123` (one number a channel), a .npy or a .binaryproto file -> (channels,) or of `shape`.

    A mean image of another height and width is averaged to one value a channel, as pycaffe's scripts do.
    """
    try:
        mean = np.array([float(part) for part in text.split(",")], np.float32)
    except ValueError:
        mean = _read_mean_file(Path(text))
    channels = shape[0]
    if mean.ndim == 4 and mean.shape[0] == 1:
        mean = mean[0]
    if mean.ndim == 2 and channels == 1:
        mean = mean[np.newaxis]
    if mean.ndim not in (1, 3) or mean.shape[0] != channels:
        raise ArgumentError(
            f"mean {text!r} has shape {mean.shape}; the net's input has {channels} channel(s): give that many numbers, "
            "or a mean image (channels, height, width)"
        )
    return mean if mean.ndim == 1 or mean.shape == shape else mean.mean(axis=(1, 2))


def _read_mean_file(path: Path) -> Floats:
    if path.suffix not in (".npy", ".binaryproto"):
        raise ArgumentError(
            f"mean {str(path)!r} is neither numbers (such as {IMAGENET_MEAN}) nor the name of a .npy or "
            ".binaryproto file"
        )
    try:
        if path.suffix == ".npy":
            with path.open("rb") as file:
                return np.asarray(np.lib.format.read_array(file, allow_pickle=False), np.float32)
        return np.asarray(io.blobproto_to_array(BlobProto.FromString(path.read_bytes())), np.float32)
    except OSError as error:
        raise MissingFileError(f"cannot read the mean {str(path)!r}: {error.strerror or error}") from error
    except (ValueError, EOFError, DecodeError) as error:
        raise ProtoError(f"mean {str(path)!r} is no whole {path.suffix} file ({error})") from error
