"""Weights as safetensors files, an 8-byte length, a JSON header, values: `<layer>/<index>` is a layer's blob."""

import json
import math
import os
import re
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from caffepy.errors import ProtoError
from caffepy.net import WeightReport, weights
from caffepy.proto.caffe_pb2 import NetParameter
from caffepy.proto.files import PathLike, open_binary, replacing
from caffepy.proto.stored import FloatArray, StoredBlob, Weights, check_names
from caffepy.proto.wire import Source

if TYPE_CHECKING:
    from caffepy.net import Net

_KEY = re.compile(r"(.+)/(\d+)", re.DOTALL)
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_CHUNK = 1 << 20  # values converted at a time
_ALIGNMENT = 8


def save_safetensors(net: "Net", path: PathLike) -> None:
    """Write every layer's weights, float32, those that layers share once for each; the file appears when it is whole.

    Raises MissingFileError or ProtoError where it cannot be written, or layers with weights share a name.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    with net._lock:
        values = [[blob.glance() for blob in layer.blobs] for layer in net.execution.layers]
        check_names(net.param, values, "safetensors")
        arrays = {
            f"{layer.name}/{i}": array
            for layer, blobs in zip(net.execution.layers, values, strict=True)
            for i, array in enumerate(blobs)
        }
        place = 0
        for key, array in arrays.items():
            end = place + array.nbytes
            header[key] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [place, end]}
            place = end
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % _ALIGNMENT)
        with replacing(path) as beside, open(beside, "wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for array in arrays.values():
                file.write(array.astype("<f4", copy=False).data)


def load_safetensors(net: "Net", path: PathLike) -> WeightReport:
    """Copy the file's tensors (F32, F16, BF16 or F64) into the layers of the same names, as Net.copy_from does.

    Raises MissingFileError, ProtoError for a damaged file, WeightsError, before anything is changed, where a layer's
    blobs do not fit.
    """
    with net._lock, open_safetensors(path) as stored:
        return weights.take(net.execution.layers, net.param_owners, stored)


def open_safetensors(path: PathLike) -> Weights:
    """The tensors of a file, each read when it is asked for; one whose name ends in no index is a layer without any."""
    source = Source(open_binary(path), os.fspath(path))
    try:
        layers: dict[str, list[StoredBlob]] = {}
        start, header = _header(source)
        for key, entry in header.items():
            match = _KEY.fullmatch(key)
            if match is None:
                layers[key] = []
                continue
            layers.setdefault(match[1], []).append(_blob(source, start, int(match[2]), key, entry))
    except BaseException:
        source.close()
        raise
    return Weights(source.name, NetParameter(), list(layers.items()), source.close, by_name=True)


def _header(source: Source) -> tuple[int, dict[str, Any]]:
    """Where the values start, and what there is of them."""
    length = int.from_bytes(source.read(0, min(8, source.size)), "little")
    if source.size < 8 or length > source.size - 8:
        raise source.error(0, f"expected safetensors: a header of {length} bytes does not fit; download it again")
    try:
        header = json.loads(bytes(source.read(8, 8 + length)))
    except ValueError as error:
        raise source.error(8, f"expected safetensors: the header is no JSON ({error}); download it again") from error
    if not isinstance(header, dict):
        raise source.error(8, f"expected safetensors: the header is a {type(header).__name__}, not a dict")
    return 8 + length, {key: entry for key, entry in header.items() if key != "__metadata__"}


def _blob(source: Source, start: int, index: int, key: str, entry: Any) -> StoredBlob:
    try:
        name, shape, (first, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        item = _DTYPES.get(name)
        whole = all(isinstance(number, int) and number >= 0 for number in (*shape, first, end))
    except (KeyError, TypeError, ValueError) as error:
        raise source.error(
            8, f"tensor {key!r} is described by {entry!r}, which gives no dtype, shape and place"
        ) from error
    if item is None:
        raise ProtoError(f"{source.name}: tensor {key!r} is of dtype {name}; expected one of {', '.join(_DTYPES)}")
    dtype = np.dtype(item)
    if not whole or end - first != math.prod(shape) * dtype.itemsize or start + end > source.size:
        raise source.error(
            start, f"tensor {key!r} of shape {shape} at {first} to {end} is not whole; download it again"
        )
    return StoredBlob(shape, partial(_read, source, start + first, dtype), index=index)


def _read(source: Source, start: int, dtype: np.dtype[Any], out: FloatArray) -> None:
    flat = out.reshape(-1)
    for first in range(0, flat.size, _CHUNK):
        part = flat[first : first + _CHUNK]
        place = start + first * dtype.itemsize
        raw = np.frombuffer(source.read(place, place + part.size * dtype.itemsize), dtype)
        if dtype.kind == "u":  # bfloat16: the upper half of a float32
            part.view(np.uint32)[:] = raw.astype(np.uint32) << 16
        else:
            with np.errstate(over="ignore", invalid="ignore"):
                part[:] = raw
