"""Blobs as files hold them: BlobProto messages in memory, StoredBlob handles on an open file."""

from collections.abc import Callable
from math import prod
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from caffepy.errors import ArgumentError, ProtoError
from caffepy.proto.caffe_pb2 import BlobProto, NetParameter

FloatArray = NDArray[np.float32]

_MOST_AXES = 32  # kMaxBlobAxes: blob.hpp
_LEGACY = ("num", "channels", "height", "width")


def is_legacy(proto: BlobProto) -> bool:
    """Whether the shape is given as num, channels, height, width, which then count before `shape`: Blob::FromProto."""
    return any(proto.HasField(name) for name in _LEGACY)


def blob_shape(proto: BlobProto) -> tuple[int, ...]:
    """The shape a BlobProto gives: 4 axes for a legacy one, () for one that gives none.

    Raises ProtoError for a negative axis or more than 32 axes.
    """
    shape = (proto.num, proto.channels, proto.height, proto.width) if is_legacy(proto) else tuple(proto.shape.dim)
    if len(shape) > _MOST_AXES or any(axis < 0 for axis in shape):
        raise ProtoError(f"a blob has the shape {shape}; axes are at most {_MOST_AXES} and not negative")
    return shape


def blob_array(proto: BlobProto) -> FloatArray:
    """The values of a BlobProto in memory, such as a mean.binaryproto, in its shape; double_data is rounded.

    Raises ProtoError if the number of values does not fit the shape.
    """
    shape = blob_shape(proto)
    values = proto.double_data or proto.data
    check_count(shape, len(values), "the blob")
    with np.errstate(over="ignore"):
        return np.array(values, np.float32).reshape(shape)


def check_count(shape: tuple[int, ...], found: int, where: str) -> None:
    """Raise ProtoError unless a blob of that shape has as many values as were found."""
    if prod(shape) != found:
        raise ProtoError(
            f"{where} has shape {shape}, which is {prod(shape)} values, and {found} are stored; the file is damaged, "
            "or a fork of Caffe wrote the values its own way"
        )


class StoredBlob:
    """A blob in an open weights file, read when it is asked for.

    shape   as the file gives it; 4 axes if legacy
    legacy  whether the file gives num, channels, height, width: such a shape fits any with the same last axes
    index   its place among the layer's parameter blobs; HDF5 files leave out blobs shared with another layer
    """

    def __init__(
        self, shape: tuple[int, ...], read: Callable[[FloatArray], None], *, index: int = 0, legacy: bool = False
    ) -> None:
        self.shape = shape
        self.legacy = legacy
        self.index = index
        self._read = read

    @property
    def count(self) -> int:
        """The number of values."""
        return prod(self.shape)

    def copy_into(self, out: FloatArray) -> None:
        """Fill `out`, a C-contiguous float32 array of `count` values and any shape.

        Raises ArgumentError for another array, ProtoError if the file changed since it was opened, StateError if the
        Weights were closed.
        """
        if out.dtype != np.float32 or not out.flags.c_contiguous or out.size != self.count:
            raise ArgumentError(
                f"copy_into: expected a C-contiguous float32 array of {self.count} values, found {out.dtype}, shape "
                f"{out.shape}, strides {out.strides}"
            )
        if out.size:
            self._read(out)

    def array(self) -> FloatArray:
        """The values in a new array of the blob's shape."""
        out = np.empty(self.shape, np.float32)
        self.copy_into(out)
        return out


class Weights:
    """An open weights file: `with open_weights(path) as weights`.

    path    the file
    net     the definition, upgraded and without blobs; empty for HDF5, which holds none
    layers  the blobs of each layer that has some, by layer name, in file order; a name that comes twice keeps the last,
            as copying one layer after the other does: Net::CopyTrainedLayersFrom
    """

    def __init__(
        self, path: str, net: NetParameter, layers: dict[str, list[StoredBlob]], close: Callable[[], None]
    ) -> None:
        self.path = path
        self.net = net
        self.layers = layers
        self._close = close

    def close(self) -> None:
        """Close the file; `net` stays, the blobs can no longer be read."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
