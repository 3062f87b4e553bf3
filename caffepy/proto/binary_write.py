"""Binary .caffemodel files written, in the order of fields that Caffe writes, without a copy of the values."""

from collections.abc import Sequence
from itertools import repeat
from typing import BinaryIO

import numpy as np

from caffepy.proto.caffe_pb2 import BlobProto, BlobShape, LayerParameter, NetParameter
from caffepy.proto.forks import clear_fork_fields
from caffepy.proto.stored import FloatArray, Layerwise
from caffepy.proto.wire import prefix


def write_binary(path: str, net: NetParameter, blobs: Layerwise, diffs: Layerwise | None) -> None:
    """Write the definition with the blobs (and diffs, if any) in it, in the order of fields that Caffe writes."""
    head = NetParameter()
    head.CopyFrom(net)
    head.ClearField("layer")
    clear_fork_fields(head)
    with open(path, "wb") as file:
        file.write(head.SerializePartialToString())
        for i, layer in enumerate(net.layer):
            _write_layer(file, layer, blobs[i], diffs[i] if diffs else ())


def _write_layer(
    file: BinaryIO, layer: LayerParameter, blobs: Sequence[FloatArray], diffs: Sequence[FloatArray]
) -> None:
    """Write one layer: the fields before `blobs`, the blobs, the fields after (unknown ones too)."""
    place = LayerParameter.BLOBS_FIELD_NUMBER
    before = LayerParameter(**{field.name: value for field, value in layer.ListFields() if field.number < place})
    after = LayerParameter()
    after.CopyFrom(layer)
    for field, _ in layer.ListFields():
        if field.number <= place:
            after.ClearField(field.name)
    clear_fork_fields(after)
    parts: list[bytes | FloatArray] = [before.SerializePartialToString()]
    for blob, diff in zip(blobs, diffs or repeat(None, len(blobs)), strict=True):
        inner = blob_parts(blob, diff)
        parts += [prefix(place, size(inner)), *inner]
    parts += [after.SerializePartialToString(), *layer.foreign_fields]
    file.write(prefix(NetParameter.LAYER_FIELD_NUMBER, size(parts)))
    for part in parts:
        file.write(part if isinstance(part, bytes) else np.ascontiguousarray(part, "<f4").data)


def blob_parts(data: FloatArray, diff: FloatArray | None) -> list[bytes | FloatArray]:
    """A BlobProto in pieces, the arrays as they are."""
    parts: list[bytes | FloatArray] = []
    for number, values in ((BlobProto.DATA_FIELD_NUMBER, data), (BlobProto.DIFF_FIELD_NUMBER, diff)):
        if values is not None and values.size:
            parts += [prefix(number, size([values])), values]
    shape = BlobShape(dim=data.shape).SerializeToString()
    return [*parts, prefix(BlobProto.SHAPE_FIELD_NUMBER, len(shape)) + shape]


def size(parts: Sequence[bytes | FloatArray]) -> int:
    """The number of bytes, arrays counted as float32."""
    return sum(len(part) if isinstance(part, bytes) else 4 * part.size for part in parts)
