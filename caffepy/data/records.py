"""Datum messages as (channels, height, width) values."""

import math
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from caffepy.data.bilinear import Picture
from caffepy.data.pictures import decode
from caffepy.data.transform import Values
from caffepy.errors import DataError
from caffepy.proto.caffe_pb2 import Datum


def parse_datum(value: bytes, what: str) -> Datum:
    """The message. Raises DataError, which begins with `what`, where the bytes are none."""
    try:
        return Datum.FromString(value)
    except DecodeError as error:
        raise DataError(f"{what} is no Datum: its {len(value)} bytes cannot be parsed") from error


def datum_values(datum: Datum, what: str, color: bool | None = None) -> Values:
    """The message's (channels, height, width): uint8 of its bytes or of its picture, or else its floats.

    color   how an encoded picture is decoded: True in colour, False in grey, None as it is

    Raises DataError, which begins with `what`, where there are fewer values than the shape says.
    """
    if datum.encoded:
        return channels_first(decode(datum.data, color, what))
    shape = datum.channels, datum.height, datum.width
    if min(shape) < 1:
        raise DataError(f"{what}: a Datum of {shape[0]} channels of {shape[1]} x {shape[2]} holds nothing")
    count, found = math.prod(shape), len(datum.data) or len(datum.float_data)
    if found < count:
        raise DataError(f"{what}: {found} values for {shape[0]} channels of {shape[1]} x {shape[2]}, which are {count}")
    if datum.data:
        return np.frombuffer(datum.data, np.uint8, count).reshape(shape)
    return np.array(datum.float_data[:count], np.float32).reshape(shape)


def channels_first(picture: Picture) -> Picture:
    """(height, width[, channels]) -> (channels, height, width), without a copy."""
    return picture[np.newaxis] if picture.ndim == 2 else picture.transpose(2, 0, 1)


def feature_datum(values: NDArray[Any]) -> Datum:
    """One item's values, of at most three axes, as a record of floats (tools/extract_features.cpp)."""
    channels, height, width = (*values.shape, 1, 1, 1)[:3]
    return Datum(channels=channels, height=height, width=width, float_data=values.reshape(-1))


def feature_key(number: int) -> bytes:
    """An item's key: ten digits."""
    return f"{number:010}".encode()
