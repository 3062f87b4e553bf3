"""Arrays as BlobProto and Datum messages, and back."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from caffepy.errors import ArgumentError
from caffepy.io.pictures import Array
from caffepy.proto import caffe_pb2
from caffepy.proto.stored import blob_shape, blob_values, check_count


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
    """A (channels, height, width) array as a Datum: uint8 values as bytes, any other type as floats.

    label  a whole number of 32 bits, of any type: 3.0 and np.array([3]), as tables of labels give them, are 3
    """
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
        datum.label = _label(label)
    return datum


def _label(label: Any) -> int:
    number = np.asarray(label)
    if number.size != 1 or number.dtype.kind not in "biuf" or not -(2**31) <= number.item() < 2**31 or number % 1:
        raise ArgumentError(f"array_to_datum: label is {label!r}, expected a whole number of 32 bits")
    return int(number.item())


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
