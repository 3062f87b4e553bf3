"""Blobs as files hold them: BlobProto messages in memory, StoredBlob handles on an open file."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import Self

import numpy as np
from google.protobuf.unknown_fields import UnknownFieldSet
from numpy.typing import NDArray

from caffepy.errors import ArgumentError, ProtoError
from caffepy.limits import most_memory, too_much
from caffepy.proto.caffe_pb2 import BlobProto, NetParameter
from caffepy.proto.wire import VARINT

FloatArray = NDArray[np.float32]
Layerwise = Sequence[Sequence[FloatArray]]
"""The blobs of each layer of a net, in its order."""

_MOST_AXES = 32  # kMaxBlobAxes: blob.hpp
_MOST = 2**60  # values that NumPy can count the bytes of, be they float64
_LEGACY = ("num", "channels", "height", "width")


def is_legacy(proto: BlobProto) -> bool:
    """Whether the shape is given as num, channels, height, width, which then count before `shape`: Blob::FromProto."""
    return any(proto.HasField(name) for name in _LEGACY)


def blob_shape(proto: BlobProto) -> tuple[int, ...]:
    """The shape a BlobProto gives: 4 axes for a legacy one, 5 for one of C3D, () for one that gives none.

    Raises ProtoError for a negative axis or more than 32 axes.
    """
    shape = (proto.num, proto.channels, proto.height, proto.width) if is_legacy(proto) else tuple(proto.shape.dim)
    if (width := _c3d_width(proto)) is not None:
        shape = (*shape, width)
    if len(shape) > _MOST_AXES or any(axis < 0 for axis in shape) or prod(max(1, axis) for axis in shape) > _MOST:
        raise ProtoError(
            f"a blob has the shape {shape}; axes are at most {_MOST_AXES} and not negative, their product has 60 bits"
        )
    return shape


def is_c3d(proto: BlobProto) -> bool:
    """Whether C3D wrote it: num, channels, length, height and width as fields 1 to 5, data and diff as 6 and 7."""
    return _c3d_width(proto) is not None


def _c3d_width(proto: BlobProto) -> int | None:
    """What is a number where Caffe has data."""
    for field in UnknownFieldSet(proto):  # type: ignore[attr-defined]
        if field.field_number == BlobProto.DATA_FIELD_NUMBER and field.wire_type == VARINT:
            return int(field.data)
    return None


def blob_values(proto: BlobProto) -> Sequence[float]:
    """The values of a BlobProto in memory, whoever wrote it."""
    return proto.diff if is_c3d(proto) else proto.double_data or proto.data


def blob_array(proto: BlobProto) -> FloatArray:
    """The values of a BlobProto in memory, such as a mean.binaryproto, in its shape; double_data is rounded.

    Raises ProtoError if the number of values does not fit the shape.
    """
    shape = blob_shape(proto)
    values = blob_values(proto)
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


def check_names(net: NetParameter, blobs: Layerwise, kind: str) -> None:
    """Raise ProtoError where several layers with blobs have one name, which a file that goes by names cannot hold."""
    names = Counter(layer.name for layer, arrays in zip(net.layer, blobs, strict=True) if arrays)
    if twice := [name for name, count in names.items() if count > 1]:
        raise ProtoError(
            f"several layers with weights are named {twice[0]!r}, and {kind} goes by names; write a .caffemodel, "
            "which keeps their order, or give each layer a name of its own"
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
        """The values in a new array of the blob's shape. Raises as `copy_into`, and ProtoError where memory lacks."""
        if (size := 4 * self.count) > (most := most_memory()):
            raise ProtoError(f"a blob of shape {self.shape} {too_much(size, most)}")
        out = np.empty(self.shape, np.float32)
        self.copy_into(out)
        return out


class Weights:
    """An open weights file: `with open_weights(path) as weights`.

    path    the file
    net     the definition, upgraded and without blobs; empty for HDF5, which holds none
    each    every layer's name and blobs, in file order; a name may come twice
    by_name whether the file is a table of names, which a net's last layer of a name stands for: its layer_names_index_;
            else layers follow one another, and the first of the name is meant: Net::CopyTrainedLayersFrom
    """

    def __init__(
        self,
        path: str,
        net: NetParameter,
        each: Sequence[tuple[str, list[StoredBlob]]],
        close: Callable[[], None],
        *,
        by_name: bool = False,
    ) -> None:
        self.path = path
        self.net = net
        self.each = each
        self.by_name = by_name
        self._close = close

    @property
    def layers(self) -> dict[str, list[StoredBlob]]:
        """The blobs of each layer that has some, by name; of several layers of a name the last one's."""
        found: dict[str, list[StoredBlob]] = {}
        for name, blobs in self.each:
            if blobs:
                found.pop(name, None)
                found[name] = blobs
        return found

    def of_layers(self) -> list[list[StoredBlob]]:
        """The blobs of each layer of `net`."""
        return in_order(self.each, (layer.name for layer in self.net.layer))

    def close(self) -> None:
        """Close the file; `net` stays, the blobs can no longer be read."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def in_order(each: Iterable[tuple[str, list[StoredBlob]]], names: Iterable[str]) -> list[list[StoredBlob]]:
    """The blobs of layers of these names, the first of a name for its first layer, the next for the next.

    Names without an entry are of layers that upgrading or splitting has added; they have no blobs.
    """
    waiting: dict[str, deque[list[StoredBlob]]] = {}
    for name, blobs in each:
        waiting.setdefault(name, deque()).append(blobs)
    return [queue.popleft() if (queue := waiting.get(name)) else [] for name in names]


def held(net: NetParameter) -> Weights:
    """A definition in memory and the blobs that its messages hold, which are taken out of it; of any age.

    Raises ProtoError where a blob's values do not fit its shape.
    """
    each = []
    for layer in [*net.layer, *(old.layer if old.HasField("layer") else old for old in net.layers)]:
        each.append((layer.name, [_in_memory(proto, i, layer.name) for i, proto in enumerate(layer.blobs)]))
        layer.ClearField("blobs")
    return Weights(f"the definition of net {net.name!r}", net, each, lambda: None)


def _in_memory(proto: BlobProto, index: int, layer: str) -> StoredBlob:
    try:
        values = blob_array(proto)
    except ProtoError as error:
        raise ProtoError(f"layer {layer!r}, blob {index}: {error}") from error
    return StoredBlob(
        values.shape, lambda out: np.copyto(out.reshape(values.shape), values), index=index, legacy=is_legacy(proto)
    )
