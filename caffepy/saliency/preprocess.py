"""From a picture to a net's input, as pycaffe's classification scripts do it, and back."""

from dataclasses import dataclass
from io import BytesIO
from os import PathLike
from pathlib import Path
from tokenize import TokenError
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from caffepy import io
from caffepy.blob import Floats, Shape
from caffepy.data.files import read_file
from caffepy.errors import ArgumentError, ProtoError
from caffepy.proto.caffe_pb2 import BlobProto
from caffepy.proto.stored import blob_array

IMAGENET_MEAN = "104,117,123"
"""B, G, R on a scale of 0 to 255: what most published ImageNet nets in Caffe's format were trained with."""


@dataclass(frozen=True, eq=False)
class Preprocess:
    """image of 0 to 1 -> resized, channels first, in `order` if there are three, * scale, - mean.

        net.preprocess = Preprocess(mean=(104, 117, 123))

    stores it with a net.
    """

    scale: float = 255.0
    mean: npt.ArrayLike | None = None
    """(channels,) or (channels, height, width), in the order of the net's channels."""
    order: Literal["BGR", "RGB"] = "BGR"

    def apply(self, image: Floats, shape: Shape) -> Floats:
        """An image (height, width, 1 or 3) as load_image gives it -> (1, channels, height, width).

        shape   (channels, height, width) of the net's input
        """
        self.check(shape)
        if image.shape[2] != shape[0]:
            image = np.repeat(image, 3, axis=2) if shape[0] == 3 else io.luminance(image)
        transformer = io.Transformer({"data": (1, *shape)})
        self.configure(transformer, "data")
        return np.asarray(transformer.preprocess("data", image), np.float32)[np.newaxis]

    def show(self, data: Floats) -> Floats:
        """An input (channels, height, width) -> the image of 0 to 1 that it is of, (height, width, channels)."""
        transformer = io.Transformer({"data": (1, *data.shape)})
        self.configure(transformer, "data")
        return np.clip(np.asarray(transformer.deprocess("data", data), np.float32), 0, 1)

    def configure(self, transformer: io.Transformer, in_: str) -> None:
        """Let a Transformer do it to pictures of as many channels."""
        transformer.set_transpose(in_, (2, 0, 1))
        if transformer.inputs[in_][1] == 3 and self.order == "BGR":
            transformer.set_channel_swap(in_, (2, 1, 0))
        transformer.set_raw_scale(in_, self.scale)
        if self.mean is not None:
            transformer.set_mean(in_, np.asarray(self.mean, np.float32))

    def describe(self, shape: Shape) -> str:
        """In words, for the user to check; `shape` as `apply` takes it."""
        order = self.order if shape[0] == 3 else "gray"
        mean = None if self.mean is None else np.asarray(self.mean)
        if mean is None:
            said = "no mean"
        elif mean.ndim == 1:
            said = "mean " + ",".join(f"{value:g}" for value in mean)
        else:
            said = f"mean image {'x'.join(map(str, mean.shape))}"
        return f"{'x'.join(map(str, shape))}, {order}, scale {self.scale:g}, {said}"

    @staticmethod
    def check(shape: Shape) -> None:
        """Raise ArgumentError unless one image of that shape is a picture."""
        if len(shape) != 3 or shape[0] not in (1, 3):
            raise ArgumentError(f"the net's input is {shape} for one image; expected 1 or 3 channels, height and width")


def preprocess_of(shape: Shape, mean: str | None = None, scale: float = 255.0) -> Preprocess:
    """What a mean in words, see read_mean, says for an input of `shape`, (N, channels, height, width).

    Without one it is ImageNet's for three channels at scale 255, and else none; "none" is none.
    """
    item = shape[1:]
    Preprocess.check(item)
    if mean is None:
        mean = IMAGENET_MEAN if item[0] == 3 and scale == 255 else "none"
    return Preprocess(scale, None if mean == "none" else read_mean(mean, item))


def read_mean(text: str | PathLike[str], shape: Shape) -> Floats:
    """`104,117,123` (one number a channel), a .npy or a .binaryproto file -> (channels,) or of `shape`.

    A mean image of another height and width is averaged to one value a channel, as pycaffe's scripts do.
    """
    text = str(text)
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


_OF_NUMPY = (ValueError, TypeError, SyntaxError, TokenError, EOFError, OverflowError, MemoryError, RecursionError)
"""What numpy raises for a .npy file that is damaged: its header is Python text."""


def _read_mean_file(path: Path) -> Floats:
    if path.suffix not in (".npy", ".binaryproto"):
        raise ArgumentError(
            f"mean {str(path)!r} is neither numbers (such as {IMAGENET_MEAN}) nor the name of a .npy or "
            ".binaryproto file"
        )
    content = read_file(path)
    try:
        if path.suffix == ".npy":
            found = np.lib.format.read_array(BytesIO(content), allow_pickle=False)
        else:
            found = blob_array(BlobProto.FromString(content))
    except (*_OF_NUMPY, DecodeError) as error:
        raise ProtoError(f"mean {str(path)!r} is no whole {path.suffix} file ({error})") from error
    if found.dtype.kind not in "buif":
        raise ProtoError(f"mean {str(path)!r} holds an array of {found.dtype}; expected real numbers")
    with np.errstate(over="ignore"):
        return np.asarray(found, np.float32)


# ---- what a method is given


def images_of(image: Any, shape: Shape, preprocess: Any) -> Floats:
    """`image` as a net's input: (N, channels, height, width), in memory of its own.

    image       (N, channels, height, width), or one (channels, height, width), as the net takes it; or a picture: a
                file's name, (height, width), (height, width, 1 or 3) of 0 to 1 or of uint8, a Pillow image; or a list
                of pictures
    shape       the input's, (N, channels, height, width)
    preprocess  a Preprocess, or an io.Transformer whose first input it is; None: see preprocess_of

    Raises ArgumentError where it is none of these, has other channels than the net, or is not finite.
    """
    if isinstance(image, list | tuple) and image and not np.isscalar(image[0]):
        found = np.concatenate([_one(item, shape, preprocess) for item in image])
    else:
        found = _one(image, shape, preprocess)
    if not np.isfinite(found).all():
        raise ArgumentError(f"the image holds {np.count_nonzero(~np.isfinite(found))} values that are not finite")
    return found


def _one(image: Any, shape: Shape, preprocess: Any) -> Floats:
    if isinstance(image, str | PathLike):
        picture = io.load_image(image, color=shape[1] != 1)
        return _preprocessed(picture, shape, preprocess)
    if hasattr(image, "convert") and hasattr(image, "mode"):  # Pillow's
        image = np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))
    array = image.get() if hasattr(image, "get") and not isinstance(image, np.ndarray) else np.asarray(image)
    if array.dtype.kind not in "biuf":
        raise ArgumentError(f"an image must be an array of numbers or a file's name, got {type(image).__name__}")
    ready = (
        array.ndim == 3 and array.shape[0] == shape[1] and (array.shape == shape[1:] or array.shape[2] not in (1, 3))
    )
    if array.ndim == 4 or ready:
        data = np.array(array if array.ndim == 4 else array[np.newaxis], np.float32)
        if data.shape[1] != shape[1] or 0 in data.shape:
            raise ArgumentError(f"the images are {data.shape}, the net takes (N, {', '.join(map(str, shape[1:]))})")
        return data
    if array.ndim == 2:
        array = array[:, :, np.newaxis]
    if array.ndim != 3 or array.shape[2] not in (1, 3):
        raise ArgumentError(
            f"an image of shape {array.shape} is neither the net's (N, {', '.join(map(str, shape[1:]))}) nor a picture "
            "(height, width, 1 or 3)"
        )
    scale = 255 if array.dtype == np.uint8 else 1
    return _preprocessed(np.asarray(array / scale, np.float32), shape, preprocess)


def _preprocessed(picture: Floats, shape: Shape, preprocess: Any) -> Floats:
    if isinstance(preprocess, io.Transformer):
        in_ = next(iter(preprocess.inputs))
        return np.asarray(preprocess.preprocess(in_, picture), np.float32)[np.newaxis]
    chosen = preprocess or preprocess_of(shape)
    if not isinstance(chosen, Preprocess):
        raise ArgumentError(f"preprocess must be a Preprocess or an io.Transformer, got {type(chosen).__name__}")
    return chosen.apply(picture, shape[1:])
