"""pycaffe's caffe.io: pictures in and out, Transformer, and arrays as BlobProto and Datum messages."""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from caffepy.errors import ArgumentError, ImageError, MissingFileError, UnknownBlobError
from caffepy.limits import in_force, most_memory, too_much
from caffepy.proto import caffe_pb2
from caffepy.proto.files import check_regular
from caffepy.proto.stored import blob_shape, blob_values, check_count

Array = npt.NDArray[Any]
DAMAGED = (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, KeyError, MemoryError)
"""What Pillow raises for a damaged picture."""
_BYTES = 28  # a pixel takes while it is read: decoded, in colour, and three floats of it twice
_ROWS_AT_ONCE = 32  # of a sampling matrix, per product: few enough to skip its zeros, enough for BLAS

# --- arrays and messages -----------------------------------------------------------------------------------------


def blobproto_to_array(blob: caffe_pb2.BlobProto, return_diff: bool = False) -> Array:
    """The message's data (or diff) as float64, in its shape; num, channels, height, width if it has those.

    Raises ProtoError where the values are fewer or more than the shape holds, ArgumentError if there is no diff.
    """
    values = (blob.double_diff or blob.diff) if return_diff else blob_values(blob)
    if return_diff and not values:
        raise ArgumentError("blobproto_to_array: the message holds no diff: leave return_diff out to get its data")
    shape = blob_shape(blob)
    check_count(shape, len(values), "the blob")
    return np.array(values, dtype=np.float64).reshape(shape)


def array_to_blobproto(arr: npt.ArrayLike, diff: npt.ArrayLike | None = None) -> caffe_pb2.BlobProto:
    """A BlobProto of the array's shape and values, with a diff of the same shape if one is given."""
    data = np.asarray(arr)
    blob = caffe_pb2.BlobProto()
    blob.shape.dim.extend(data.shape)
    blob.data.extend(data.astype(np.float64).ravel().tolist())
    if diff is not None:
        if np.shape(diff) != data.shape:
            raise ArgumentError(
                f"array_to_blobproto: the diff's shape is {np.shape(diff)}, the data's {data.shape}: give both alike"
            )
        blob.diff.extend(np.asarray(diff, dtype=np.float64).ravel().tolist())
    return blob


def arraylist_to_blobprotovector_str(arraylist: Iterable[npt.ArrayLike]) -> bytes:
    """The arrays as the bytes of a BlobProtoVector."""
    vector = caffe_pb2.BlobProtoVector()
    vector.blobs.extend([array_to_blobproto(arr) for arr in arraylist])
    return bytes(vector.SerializeToString())


def blobprotovector_str_to_arraylist(str: bytes) -> list[Array]:
    """The arrays in the bytes of a BlobProtoVector."""
    return [blobproto_to_array(blob) for blob in caffe_pb2.BlobProtoVector.FromString(str).blobs]


def array_to_datum(arr: npt.ArrayLike, label: int | None = None) -> caffe_pb2.Datum:
    """A (channels, height, width) array as a Datum: uint8 values as bytes, any other type as floats."""
    values = np.asarray(arr)
    if values.ndim != 3:
        raise ArgumentError("Incorrect array shape.").advise(
            f"array_to_datum: expected (channels, height, width), found shape {values.shape}"
        )
    datum = caffe_pb2.Datum(channels=values.shape[0], height=values.shape[1], width=values.shape[2])
    if values.dtype == np.uint8:
        datum.data = values.tobytes()
    else:
        datum.float_data.extend(values.astype(np.float64).ravel().tolist())
    if label is not None:
        datum.label = label
    return datum


def datum_to_array(datum: caffe_pb2.Datum) -> Array:
    """The Datum's (channels, height, width) values: uint8 from bytes, float64 from floats; its label is datum.label."""
    if datum.encoded:
        raise ArgumentError(
            "datum_to_array: the Datum holds an encoded picture (encoded: true), not pixels: "
            "read it with load_image(io.BytesIO(datum.data))"
        )
    values: Array = np.array(datum.float_data, dtype=np.float64)
    if datum.data:
        values = np.frombuffer(datum.data, dtype=np.uint8).copy()
    shape = (datum.channels, datum.height, datum.width)
    if values.size != math.prod(shape):
        raise ArgumentError(f"datum_to_array: {values.size} values for shape {shape}: the Datum is damaged")
    try:
        return values.reshape(shape)
    except ValueError as error:  # an axis below 0, or no value and yet too many of them
        raise ArgumentError(f"datum_to_array: shape {shape} is none: the Datum is damaged") from error


# --- Transformer -------------------------------------------------------------------------------------------------


class Transformer:
    """Pictures (height, width, channels) to net inputs (channels, height, width), and back.

    inputs: {input name: the input blob's shape}. What is not set is not done.
    """

    def __init__(self, inputs: Mapping[str, Sequence[int]]) -> None:
        self.inputs = inputs
        self.transpose: dict[str, Sequence[int]] = {}
        self.channel_swap: dict[str, Sequence[int]] = {}
        self.raw_scale: dict[str, float] = {}
        self.mean: dict[str, Array] = {}
        self.input_scale: dict[str, float] = {}

    def preprocess(self, in_: str, data: npt.ArrayLike) -> Array:
        """((resized, transposed, channels swapped) * raw_scale - mean) * input_scale, a new float32 array."""
        size = self._dims(in_)[2:]
        array: Array = np.array(data, dtype=np.float32)
        if array.shape[:2] != size:
            array = resize_image(array, size)
        if in_ in self.transpose:
            array = self._transposed(in_, array, self.transpose[in_])
        if in_ in self.channel_swap:
            array = self._swapped(in_, array, self.channel_swap[in_])
        if in_ in self.raw_scale:
            array *= np.float32(self.raw_scale[in_])
        if in_ in self.mean:
            array -= self._mean_of(in_, array)
        if in_ in self.input_scale:
            array *= np.float32(self.input_scale[in_])
        return array

    def deprocess(self, in_: str, data: npt.ArrayLike) -> Array:
        """The picture whose preprocess is `data` (one input, with or without its batch axis), at data's size."""
        self._dims(in_)
        array: Array = np.array(data, dtype=np.float32).squeeze()
        if array.ndim == 2 and (in_ in self.transpose or in_ in self.channel_swap or in_ in self.mean):
            array = array[np.newaxis]  # the channel axis of a grey picture
        if in_ in self.input_scale:
            array /= np.float32(self.input_scale[in_])
        if in_ in self.mean:
            array += self._mean_of(in_, array)
        if in_ in self.raw_scale:
            array /= np.float32(self.raw_scale[in_])
        if in_ in self.channel_swap:
            array = self._swapped(in_, array, np.argsort(self.channel_swap[in_]).tolist())
        if in_ in self.transpose:
            array = self._transposed(in_, array, np.argsort(self.transpose[in_]).tolist())
        return array

    def set_transpose(self, in_: str, order: Sequence[int]) -> None:
        """Sets the order of the picture's axes in the input: (2, 0, 1) for height, width, channels pictures."""
        axes = len(self._dims(in_)) - 1
        if sorted(order) != list(range(axes)):
            raise ArgumentError("Transpose order needs to have the same number of dimensions as the input.").advise(
                f"set_transpose: {tuple(order)} does not order the {axes} axes of one item of input '{in_}': "
                f"give each of 0 to {axes - 1} once, (2, 0, 1) for pictures"
            )
        self.transpose[in_] = order

    def set_channel_swap(self, in_: str, order: Sequence[int]) -> None:
        """Sets the order of the channels (the first axis after the transpose): (2, 1, 0) makes RGB BGR."""
        channels = self._dims(in_)[1]
        if len(order) != channels or not set(order) <= set(range(channels)):
            message = "Channel swap needs to have the same number of dimensions as the input channels."
            raise ArgumentError(message).advise(
                f"set_channel_swap: {tuple(order)} does not order the {channels} channels of input '{in_}': "
                f"give {channels} numbers of 0 to {channels - 1}"
            )
        self.channel_swap[in_] = order

    def set_raw_scale(self, in_: str, scale: float) -> None:
        """Sets the factor before the mean is subtracted: 255 for nets that take pictures in 0..255."""
        self._dims(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_: str, mean: npt.ArrayLike) -> None:
        """Sets what is subtracted: (channels,), (height, width) or (channels, height, width), resized to the input."""
        dims, values = self._dims(in_), np.asarray(mean)
        values = values[:, np.newaxis, np.newaxis] if values.ndim == 1 else values
        channels = values.shape[0] if values.ndim == 3 else 1
        fits = channels == dims[1] or (channels == 1 and np.ndim(mean) == 3)
        if values.ndim not in (2, 3) or not values.size or len(dims) != 4 or not fits:
            wrong = "shape invalid" if np.ndim(mean) not in (1, 2, 3) else "channels incompatible with input."
            raise ArgumentError(f"Mean {wrong}").advise(
                f"set_mean: the mean's shape is {np.shape(mean)}, one item of input '{in_}' is {dims[1:]}: give "
                "a value per channel, such as mean.mean(1).mean(1), or a picture with the input's channels"
            )
        if any(have not in (1, want) for have, want in zip(values.shape[-2:], dims[2:], strict=True)):
            picture = values.reshape(channels, *values.shape[-2:]).transpose(1, 2, 0)
            values = resize_image(picture, dims[2:]).transpose(2, 0, 1)
        self.mean[in_] = values

    def set_input_scale(self, in_: str, scale: float) -> None:
        """Sets the factor after the mean is subtracted."""
        self._dims(in_)
        self.input_scale[in_] = scale

    def _dims(self, in_: str) -> tuple[int, ...]:
        if in_ not in self.inputs:
            raise UnknownBlobError(f"{in_} is not one of the net inputs: {self.inputs}").advise(
                f"'{in_}' is not one of this Transformer's inputs: they are {list(self.inputs)}"
            )
        return tuple(self.inputs[in_])

    def _transposed(self, in_: str, array: Array, order: Sequence[int]) -> Array:
        if array.ndim != len(order):
            raise ArgumentError(
                f"Transformer: input '{in_}' was given an array of shape {array.shape}, its transpose {tuple(order)} "
                f"needs {len(order)} axes: give one picture at a time, a grey one with a channel axis"
            )
        return array.transpose(order)

    def _swapped(self, in_: str, array: Array, order: Sequence[int]) -> Array:
        if array.ndim != 3 or max(order) >= array.shape[0]:
            raise ArgumentError(
                f"Transformer: input '{in_}' has the channel swap {tuple(order)}, the array to swap is of shape "
                f"{array.shape}, channels first: set_transpose first, and give a picture with that many channels"
            )
        swapped: Array = array[np.asarray(order)]
        return swapped

    def _mean_of(self, in_: str, array: Array) -> Array:
        mean = self.mean[in_]
        if any(have not in (1, want) for have, want in zip(mean.shape[::-1], array.shape[::-1], strict=False)):
            raise ArgumentError(
                f"Transformer: the mean of input '{in_}' is of shape {mean.shape}, the array of shape {array.shape}: "
                f"set_transpose to put channels first, or set a mean with a value per channel"
            )
        return mean


# --- pictures ----------------------------------------------------------------------------------------------------


def load_image(filename: str | os.PathLike[str] | IO[bytes], color: bool = True) -> Array:
    """The picture as float32 RGB in [0, 1], (height, width, 3); without `color` its luminance, (height, width, 1).

    Transparency is dropped, an orientation in the file's metadata is not applied, an animation gives its first
    frame, 16-bit greys keep their precision, and floating-point pictures their values.
    Raises MissingFileError, or ImageError for a file that is no picture.
    """
    from PIL import Image

    if not (isinstance(filename, str | os.PathLike) or hasattr(filename, "read")):
        raise ArgumentError(f"load_image: expected a path or an open binary file, found {filename!r}")
    try:
        if isinstance(filename, str | os.PathLike):
            check_regular(filename)
        with Image.open(filename, formats=in_force().formats) as picture:
            if picture.width * picture.height > (most := in_force().pixels):
                raise ValueError(f"{picture.width} x {picture.height} pixels; at most {most} are read")
            if (size := _BYTES * picture.width * picture.height) > (most := most_memory()):
                raise ValueError(f"{picture.width} x {picture.height} pixels {too_much(size, most)}")
            pixels = _pixels(picture)
    except MissingFileError:
        raise
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise MissingFileError(
            f"load_image: cannot open '{filename}' ({error.strerror}): give the path of a picture"
        ) from error
    except (*DAMAGED, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(
            f"load_image: '{filename}' is no picture Pillow can read ({error}): give a whole PNG, JPEG, BMP, GIF, PNM, "
            "TIFF or WebP"
        ) from error
    if pixels.ndim == 2:
        return np.repeat(pixels[:, :, np.newaxis], 3 if color else 1, axis=2)
    return pixels if color else luminance(pixels)


def luminance(picture: Array) -> Array:
    """(height, width, 3) RGB -> (height, width, 1) grey, by ITU-R BT.709's weights as scikit-image's rgb2gray."""
    grey: Array = picture @ np.array((0.2125, 0.7154, 0.0721), picture.dtype)
    return grey[:, :, np.newaxis]


def _pixels(picture: Any) -> Array:
    """A Pillow image's values as float32, (height, width) or (height, width, 3), full scale at 1."""
    mode, full_scale = picture.mode, 255
    if mode == "F":
        full_scale = 1
    elif mode == "I":  # Pillow's mode for 32-bit files, and for 16 bits in these two formats
        full_scale = 65535 if picture.format in ("PNG", "PPM") else 2**31 - 1
    elif mode.startswith("I;16"):
        full_scale = 65535
    elif mode in ("1", "L", "LA", "La"):
        picture = picture.convert("L")
    else:
        picture = (picture.convert("RGBA") if mode in ("P", "PA") else picture).convert("RGB")
    return np.asarray(picture).astype(np.float32) / np.float32(full_scale)


def resize_image(
    im: npt.ArrayLike, new_dims: Sequence[int], interp_order: int = 1, *, anti_aliasing: bool = True
) -> Array:
    """The (height, width, channels) picture at new_dims = (height, width), float32.

    interp_order: 0 nearest, 1 linear, 2 to 5 splines (these need SciPy).
    As in pycaffe's io.py, one or three channels are sampled as scikit-image does: pixel centres at half integers,
    the picture's minimum beyond its edges, and before an axis shrinks by f a Gaussian of deviation (f - 1) / 2 along
    it (scikit-image before 0.15 had none: anti_aliasing=False). Any other number of channels is sampled as
    scipy.ndimage.zoom does: corner pixels at the corners, no Gaussian.
    """
    image = np.asarray(im)
    if image.ndim != 3 or 0 in image.shape:
        raise ArgumentError(
            f"resize_image: expected a (height, width, channels) picture, found shape {image.shape}: "
            f"give a grey one a channel axis, im[:, :, np.newaxis]"
        )
    if len(new_dims) != 2 or any(size != int(size) or size < 1 for size in new_dims):
        raise ArgumentError(
            f"resize_image: new_dims is {tuple(new_dims)}, expected (height, width), whole and positive"
        )
    if interp_order not in range(6):
        raise ArgumentError(f"resize_image: interp_order is {interp_order!r}, expected 0, 1, 2, 3, 4 or 5")
    image = image.astype(np.result_type(image, np.float32))
    size = (int(new_dims[0]), int(new_dims[1]))
    corners = image.shape[2] not in (1, 3)
    if interp_order > 1:
        return _resize_spline(image, size, interp_order, corners, anti_aliasing).astype(np.float32)
    background = image.dtype.type(0) if corners else image.min()
    resized = image - background
    for source, target in zip(image.shape, size, strict=False):
        shrink = source / target if anti_aliasing and not corners else 1.0
        sigma = max(0.0, (shrink - 1) / 2)
        resized = _resample(resized, target, interp_order, corners, sigma).swapaxes(0, 1)  # twice: as they were
    resized += background
    return np.ascontiguousarray(resized, dtype=np.float32)


def _resample(image: Array, target: int, order: int, corners: bool, sigma: float) -> Array:
    """The image with `target` rows: sampling matrix @ image, a few rows at a time to skip the matrix's zeros."""
    columns = image.reshape(image.shape[0], -1)
    result = np.empty((target, columns.shape[1]), dtype=image.dtype)
    for start in range(0, target, _ROWS_AT_ONCE):
        rows = np.arange(start, min(start + _ROWS_AT_ONCE, target))
        matrix = _sampling_matrix(rows, image.shape[0], target, order, corners, sigma).astype(image.dtype)
        used = np.flatnonzero(matrix.any(axis=0))
        band = slice(used[0], used[-1] + 1)
        np.matmul(matrix[:, band], columns[band], out=result[rows[0] : rows[-1] + 1])
    return result.reshape(target, *image.shape[1:])


def _sampling_matrix(rows: Array, source: int, target: int, order: int, corners: bool, sigma: float) -> Array:
    """(len(rows), source) weights that make these of `target` rows: a Gaussian, then the order's interpolation."""
    if corners:
        position = rows * ((source - 1) / max(target - 1, 1))
    else:
        position = (rows + 0.5) * (source / target) - 0.5
    first = np.floor(position + 0.5 if order == 0 else position).astype(np.intp)
    fraction = position - first if order else np.zeros(len(rows))
    radius = int(4 * sigma + 0.5)
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(sigma, 1e-15)) ** 2)
    taps /= taps.sum()
    matrix = np.zeros((len(rows), source + 2 * radius + 3))  # with the columns beyond both edges
    row = np.arange(len(rows))
    for offset, tap in enumerate(taps):
        matrix[row, first + 1 + offset] += tap * (1 - fraction)
        matrix[row, first + 2 + offset] += tap * fraction
    return matrix[:, radius + 1 : radius + 1 + source]


def _resize_spline(image: Array, size: tuple[int, int], order: int, corners: bool, anti_aliasing: bool) -> Array:
    try:
        from scipy import ndimage
    except ImportError:
        raise ArgumentError(
            f"resize_image: interp_order {order} needs SciPy: pip install scipy, or give interp_order 0 or 1"
        ) from None
    factors = np.array(image.shape[:2]) / size
    zoom = (*(1 / factors), 1)
    if corners:
        return np.asarray(ndimage.zoom(image, zoom, order=order, mode="mirror"))
    background = image.min()
    smooth = image - background
    if anti_aliasing:
        smooth = ndimage.gaussian_filter(smooth, (*np.maximum(0, (factors - 1) / 2), 0), mode="constant")
    resized = ndimage.zoom(smooth, zoom, order=order, mode="grid-constant", grid_mode=True)
    return np.asarray(np.clip(resized + background, background, image.max()))


def oversample(images: Iterable[npt.ArrayLike], crop_dims: Sequence[int]) -> Array:
    """(10 * N, height, width, channels) float32: of each picture four corner crops and the centre, then their mirrors.

    Raises ArgumentError for a picture smaller than crop_dims = (height, width).
    """
    height, width = (int(size) for size in crop_dims)
    crops = []
    for image in images:
        pixels = np.asarray(image, dtype=np.float32)
        if pixels.ndim != 3 or pixels.shape[0] < height or pixels.shape[1] < width:
            raise ArgumentError(
                f"oversample: expected pictures (height, width, channels) of at least {height} x {width}, "
                f"found shape {pixels.shape}: resize it first, or crop less"
            )
        below, right = pixels.shape[0] - height, pixels.shape[1] - width
        corners = [(0, 0), (0, right), (below, 0), (below, right), (below // 2, right // 2)]
        five = [pixels[top : top + height, left : left + width] for top, left in corners]
        crops += five + [crop[:, ::-1] for crop in five]
    return np.stack(crops)
