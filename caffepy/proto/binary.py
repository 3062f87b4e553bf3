"""Binary .caffemodel files read: scanned, not parsed, so that values go straight from the file to where they belong."""

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from typing import BinaryIO, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError, Message

from caffepy.errors import ProtoError
from caffepy.proto.caffe_pb2 import (
    DOUBLE,
    FLOAT,
    FLOAT16,
    BlobProto,
    LayerParameter,
    NetParameter,
    V0LayerParameter,
    V1LayerParameter,
)
from caffepy.proto.forks import has_fork_fields, reads_settings
from caffepy.proto.stored import FloatArray, StoredBlob, Weights, blob_shape, check_count, is_c3d, is_legacy
from caffepy.proto.upgrade import upgrade_net
from caffepy.proto.wire import FIXED32, FIXED64, LENGTH, VARINT, Field, Source, field_at

Item = np.dtype[np.float16] | np.dtype[np.float32] | np.dtype[np.float64]

log = logging.getLogger("caffepy")

_CHUNK = 1 << 20  # bytes converted at a time
_SETTINGS_FROM = 100  # LayerParameter: forks agree on the numbers below

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
_RAW_TYPE, _RAW_DATA = 10, 12
"""BlobProto in NVCaffe: the type of the values, and the values as bytes; 11 and 13 are the diff's."""
_RAW_ITEMS: dict[int, Item] = {FLOAT16: np.dtype("<f2"), FLOAT: np.dtype("<f4"), DOUBLE: np.dtype("<f8")}
_DIFFS = {BlobProto.DIFF_FIELD_NUMBER, BlobProto.DOUBLE_DIFF_FIELD_NUMBER, 13}


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
    each: list[tuple[str, list[StoredBlob]]] = []
    for field in _without_blobs(source, Field(0, LENGTH, 0, 0, source.size), net):
        if field.number == NetParameter.LAYER_FIELD_NUMBER:
            each.append(_layer(source, field, net.layer.add()))
        else:
            each.append(_layer(source, field, net.layers.add()))
    if not net.layer and not net.layers:
        raise ProtoError(
            f"{path}: expected a .caffemodel and found no layer in it; is it a mean or a solver state? give "
            "the file that training or Net.save wrote"
        )
    try:
        for note in upgrade_net(net):
            log.info("%s: %s", path, note)
    except ProtoError as error:
        raise ProtoError(f"{path}: {error}") from error
    return Weights(path, net, each, source.close)


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
    inner, kept, settings = [], [], []
    message.SetInParent()
    for field in _fields(source, outer):
        if field.number in _INNER[type(message)] and field.kind == LENGTH:
            inner.append(field)
        elif isinstance(message, LayerParameter) and field.number >= _SETTINGS_FROM:
            settings.append(field)
        else:
            kept.append(field)
    try:
        _merge(message, b"".join(bytes(source.read(field.start, field.stop)) for field in kept))
    except (DecodeError, UnicodeError):
        message.Clear()
        message.SetInParent()
        for field in kept:
            _parse_field(source, field, message)
    if isinstance(message, LayerParameter):
        for field in settings:
            _keep_setting(bytes(source.read(field.start, field.stop)), message)
    return inner


def _fields(source: Source, outer: Field) -> Iterator[Field]:
    at = outer.value
    while at < outer.stop:
        field = field_at(source, at, outer.stop)
        yield field
        at = field.stop


def _parse_field(source: Source, field: Field, message: Message) -> None:
    """Parse one field, told with its place if it cannot be read."""
    try:
        _merge(message, bytes(source.read(field.start, field.stop)))
    except (DecodeError, UnicodeError) as error:
        what = f"field {field.number} of {message.DESCRIPTOR.name} cannot be read ({error})"
        raise source.error(field.start, f"{what}; the file is damaged: download it again") from error


def _keep_setting(data: bytes, layer: LayerParameter) -> None:
    """Parse one of a layer's settings if it can only be Caffe's own, else keep its bytes."""
    trial = LayerParameter()
    try:
        _merge(trial, data)
        trusted = reads_settings(layer) and not has_fork_fields(trial)
    except (DecodeError, UnicodeError):
        trusted = False
    if trusted:
        layer.MergeFromString(data)
    else:
        layer.foreign_fields.append(data)


def _merge(message: Message, data: bytes) -> None:
    """Parse into the message; DecodeError or UnicodeError for what cannot be."""
    message.MergeFromString(data)
    _check_text(message)


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
    raw_type, raw_data = -1, Field(_RAW_DATA, LENGTH, 0, 0, 0)
    c3d_data = raw_data
    rest = bytearray()
    at = outer.value
    while at < outer.stop:
        field = field_at(source, at, outer.stop)
        at = field.stop
        item = _VALUES.get(field.number)
        if item is not None and field.kind == LENGTH:
            runs[field.number] += _packed(source, field, item)
        elif item is not None and field.kind in (FIXED32, FIXED64) and field.stop - field.value == item.itemsize:
            run = _unpacked(source, field, outer.stop, item)
            runs[field.number].append(run)
            at = run.start + (run.length - 1) * run.stride + item.itemsize
        elif field.number == _RAW_TYPE and field.kind == VARINT:
            raw_type = source.read(field.value, field.stop)[0]
        elif field.number == _RAW_DATA and field.kind == LENGTH:
            raw_data = field
        elif field.number == BlobProto.DIFF_FIELD_NUMBER and field.kind == LENGTH:
            c3d_data = field
        elif field.number not in _DIFFS:
            rest += source.read(field.start, field.stop)
    try:
        proto = BlobProto.FromString(bytes(rest))
        shape = blob_shape(proto)
    except (DecodeError, ProtoError) as error:
        raise source.error(outer.start, f"{where} cannot be read ({error}); the file is damaged") from error
    values = runs[BlobProto.DOUBLE_DATA_FIELD_NUMBER] or runs[BlobProto.DATA_FIELD_NUMBER]
    if not values and raw_type in _RAW_ITEMS:
        values = _packed(source, raw_data, _RAW_ITEMS[raw_type])
    if is_c3d(proto):
        values = _packed(source, c3d_data, _VALUES[BlobProto.DATA_FIELD_NUMBER])
    check_count(shape, sum(run.length for run in values), where)
    return StoredBlob(shape, partial(_read_runs, source, values), index=index, legacy=is_legacy(proto))


def _packed(source: Source, field: Field, item: Item) -> list[Run]:
    """The values that follow one another as the value of `field`."""
    count, over = divmod(field.stop - field.value, item.itemsize)
    if over:
        raise source.error(field.start, f"expected whole values of {item.itemsize} bytes; the file is damaged")
    return [Run(field.value, count, item, item.itemsize)] if count else []


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
