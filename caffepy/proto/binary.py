"""Binary .caffemodel files: scanned, not parsed, so that values go straight from the file to where they belong."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import repeat
from typing import BinaryIO, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError, Message

from caffepy.errors import ProtoError
from caffepy.proto.caffe_pb2 import (
    BlobProto,
    BlobShape,
    LayerParameter,
    NetParameter,
    V0LayerParameter,
    V1LayerParameter,
)
from caffepy.proto.stored import FloatArray, StoredBlob, Weights, blob_shape, check_count, is_legacy
from caffepy.proto.upgrade import upgrade_net
from caffepy.proto.wire import FIXED32, FIXED64, LENGTH, Field, Source, field_at, prefix

Item = np.dtype[np.float32] | np.dtype[np.float64]

log = logging.getLogger("caffepy")

_CHUNK = 1 << 20  # bytes converted at a time
_PARAMS_FROM = 100  # LayerParameter: forks agree on the numbers below

_INNER: dict[type[Message], set[int]] = {  # the fields that hold blobs, or messages with blobs
    NetParameter: {NetParameter.LAYER_FIELD_NUMBER, NetParameter.LAYERS_FIELD_NUMBER},
    LayerParameter: {LayerParameter.BLOBS_FIELD_NUMBER},
    V1LayerParameter: {V1LayerParameter.BLOBS_FIELD_NUMBER, V1LayerParameter.LAYER_FIELD_NUMBER},
    V0LayerParameter: {V0LayerParameter.BLOBS_FIELD_NUMBER},
}
_VALUES: dict[int, Item] = {
    BlobProto.DATA_FIELD_NUMBER: np.dtype("<f4"),
    BlobProto.DOUBLE_DATA_FIELD_NUMBER: np.dtype("<f8"),
}
_DIFFS = {BlobProto.DIFF_FIELD_NUMBER, BlobProto.DOUBLE_DIFF_FIELD_NUMBER}


class Run(NamedTuple):
    """`length` values of type `item`, the first at byte `start`, `stride` bytes from one to the next."""

    start: int
    length: int
    item: Item
    stride: int


def read_binary(file: BinaryIO, path: str) -> Weights:
    """The Weights of an open binary file, which they close."""
    source = Source(file, path)
    net = NetParameter()
    layers: dict[str, list[StoredBlob]] = {}
    for field in _without_blobs(source, Field(0, LENGTH, 0, 0, source.size), net):
        if field.number == NetParameter.LAYER_FIELD_NUMBER:
            name, blobs = _layer(source, field, net.layer.add())
        else:
            name, blobs = _layer(source, field, net.layers.add())
        if blobs:
            layers.pop(name, None)
            layers[name] = blobs
    if not net.layer and not net.layers:
        raise ProtoError(f"{path}: expected a .caffemodel and found no layer in it; is it a mean or a solver state?")
    try:
        for note in upgrade_net(net):
            log.info("%s: %s", path, note)
    except ProtoError as error:
        raise ProtoError(f"{path}: {error}") from error
    return Weights(path, net, layers, source.close)


def _layer(source: Source, field: Field, layer: LayerParameter | V1LayerParameter) -> tuple[str, list[StoredBlob]]:
    """Parse a layer's definition into `layer`; its name and blobs."""
    inner = _without_blobs(source, field, layer)
    name = layer.name
    if isinstance(layer, V1LayerParameter):
        for old in [f for f in inner if f.number == V1LayerParameter.LAYER_FIELD_NUMBER]:
            inner.remove(old)
            inner += _without_blobs(source, old, layer.layer)
            name = layer.layer.name
    return name, [_blob(source, part, f"{source.name}: layer {name!r}, blob {i}", i) for i, part in enumerate(inner)]


def _without_blobs(source: Source, outer: Field, message: Message) -> list[Field]:
    """Parse the message that is `outer`'s value, but for the fields that hold blobs; returns those."""
    inner, kept = [], []
    message.SetInParent()
    for field in _fields(source, outer):
        if field.number in _INNER[type(message)] and field.kind == LENGTH:
            inner.append(field)
        else:
            kept.append(field)
    try:
        message.MergeFromString(b"".join(bytes(source.read(field.start, field.stop)) for field in kept))
        _check_text(message)
    except (DecodeError, UnicodeError):
        message.Clear()
        message.SetInParent()
        for field in kept:
            _parse_field(source, field, message)
    return inner


def _fields(source: Source, outer: Field) -> Iterator[Field]:
    at = outer.value
    while at < outer.stop:
        field = field_at(source, at, outer.stop)
        yield field
        at = field.stop


def _parse_field(source: Source, field: Field, message: Message) -> None:
    """Parse one field. A layer's settings that make no sense are left out: forks reuse the numbers of settings."""
    trial = type(message)()
    data = bytes(source.read(field.start, field.stop))
    try:
        trial.MergeFromString(data)
        _check_text(trial)
    except (DecodeError, UnicodeError) as error:
        what = f"field {field.number} of {message.DESCRIPTOR.name} cannot be read"
        if not isinstance(message, LayerParameter) or field.number < _PARAMS_FROM:
            raise source.error(field.start, f"{what} ({error}); the file is damaged: download it again") from error
        log.warning("%s, byte %d: %s and is left out; did a fork of Caffe write it?", source.name, field.start, what)
    else:
        message.MergeFromString(data)


def _check_text(message: Message) -> None:
    """Raise UnicodeError for a string that is not UTF-8: upb hands it out as bytes."""
    for field, value in message.ListFields():
        if field.type == field.TYPE_STRING:
            texts = [value] if isinstance(value, str | bytes) else value
            if any(isinstance(text, bytes) for text in texts):
                raise UnicodeError(f"{field.name} is not UTF-8")
        elif field.type == field.TYPE_MESSAGE:
            for inner in value if isinstance(value, Sequence) else [value]:
                _check_text(inner)


def _blob(source: Source, outer: Field, where: str, index: int) -> StoredBlob:
    """The blob whose BlobProto is `outer`'s value."""
    runs: dict[int, list[Run]] = {number: [] for number in _VALUES}
    rest = bytearray()
    at = outer.value
    while at < outer.stop:
        field = field_at(source, at, outer.stop)
        at = field.stop
        item = _VALUES.get(field.number)
        if item is not None and field.kind == LENGTH:
            count, over = divmod(field.stop - field.value, item.itemsize)
            if over:
                raise source.error(field.start, f"expected whole values of {item.itemsize} bytes; the file is damaged")
            if count:
                runs[field.number].append(Run(field.value, count, item, item.itemsize))
        elif item is not None and field.kind in (FIXED32, FIXED64) and field.stop - field.value == item.itemsize:
            run = _unpacked(source, field, outer.stop, item)
            runs[field.number].append(run)
            at = run.start + (run.length - 1) * run.stride + item.itemsize
        elif field.number not in _DIFFS:
            rest += source.read(field.start, field.stop)
    try:
        proto = BlobProto.FromString(bytes(rest))
        shape = blob_shape(proto)
    except (DecodeError, ProtoError) as error:
        raise source.error(outer.start, f"{where} cannot be read ({error}); the file is damaged") from error
    values = runs[BlobProto.DOUBLE_DATA_FIELD_NUMBER] or runs[BlobProto.DATA_FIELD_NUMBER]
    check_count(shape, sum(run.length for run in values), where)
    return StoredBlob(shape, partial(_read_runs, source, values), index=index, legacy=is_legacy(proto))


def _unpacked(source: Source, field: Field, end: int, item: Item) -> Run:
    """The run of values that starts at `field`, each with a tag of its own."""
    tag = np.frombuffer(source.read(field.start, field.value), np.uint8)
    stride = field.stop - field.start
    count, chunk = 0, 64
    while True:
        start = field.start + count * stride
        rows = min(end - start, chunk) // stride
        table = np.frombuffer(source.read(start, start + rows * stride), np.uint8).reshape(rows, stride)
        same = (table[:, : tag.size] == tag).all(axis=1)
        count += rows if same.all() else int(same.argmin())
        if not rows or not same.all():
            return Run(field.value, count, item, stride)
        chunk = min(4 * chunk, _CHUNK)


def _read_runs(source: Source, runs: Sequence[Run], out: FloatArray) -> None:
    flat = out.reshape(-1)
    done = 0
    for run in runs:
        part = flat[done : done + run.length]
        done += run.length
        if run.stride == part.itemsize == run.item.itemsize:
            source.read_into(run.start, part.view(np.uint8).data)
            continue
        for first in range(0, run.length, _CHUNK // run.stride):
            target = part[first : first + _CHUNK // run.stride]
            start = run.start + first * run.stride
            raw = source.read(start, start + (target.size - 1) * run.stride + run.item.itemsize)
            with np.errstate(over="ignore", invalid="ignore"):
                target[:] = np.ndarray(target.shape, run.item, raw, 0, (run.stride,))


def write_binary(
    path: str,
    net: NetParameter,
    blobs: Mapping[str, Sequence[FloatArray]],
    diffs: Mapping[str, Sequence[FloatArray]],
) -> None:
    """Write the definition with the blobs (and diffs, if any) in it, in the order of fields that Caffe writes."""
    head = NetParameter()
    head.CopyFrom(net)
    head.ClearField("layer")
    with open(path, "wb") as file:
        file.write(head.SerializePartialToString())
        for layer in net.layer:
            _write_layer(file, layer, blobs.get(layer.name, ()), diffs.get(layer.name, ()))


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
    parts: list[bytes | FloatArray] = [before.SerializePartialToString()]
    for blob, diff in zip(blobs, diffs or repeat(None, len(blobs)), strict=True):
        inner = _blob_parts(blob, diff)
        parts += [prefix(place, _size(inner)), *inner]
    parts.append(after.SerializePartialToString())
    file.write(prefix(NetParameter.LAYER_FIELD_NUMBER, _size(parts)))
    for part in parts:
        file.write(part if isinstance(part, bytes) else np.ascontiguousarray(part, "<f4").data)


def _blob_parts(data: FloatArray, diff: FloatArray | None) -> list[bytes | FloatArray]:
    """A BlobProto in pieces, the arrays as they are."""
    parts: list[bytes | FloatArray] = []
    for number, values in ((BlobProto.DATA_FIELD_NUMBER, data), (BlobProto.DIFF_FIELD_NUMBER, diff)):
        if values is not None and values.size:
            parts += [prefix(number, _size([values])), values]
    shape = BlobShape(dim=data.shape).SerializeToString()
    return [*parts, prefix(BlobProto.SHAPE_FIELD_NUMBER, len(shape)) + shape]


def _size(parts: Sequence[bytes | FloatArray]) -> int:
    """The number of bytes, arrays counted as float32."""
    return sum(len(part) if isinstance(part, bytes) else 4 * part.size for part in parts)
