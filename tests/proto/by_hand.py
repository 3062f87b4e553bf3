"""Weights files put together byte by byte, by the rules of the protobuf wire format."""

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from caffepy.proto.caffemodel import Weights, open_weights
from tests.shared import ROOT

GOLDEN = ROOT / "tests" / "golden" / "caffemodels"
MODEL = GOLDEN / "sgd_momentum_l2_iter_10.caffemodel"
"""A file that real Caffe wrote."""
FloatArray = NDArray[np.float32]


def varint(value: int) -> bytes:
    head = b""
    while value > 127:
        head += bytes([value % 128 + 128])
        value //= 128
    return head + bytes([value])


def message(number: int, value: bytes) -> bytes:
    """A field with a length."""
    return varint(8 * number + 2) + varint(len(value)) + value


def packed(*values: float) -> bytes:
    return message(5, struct.pack(f"<{len(values)}f", *values))


def unpacked(*values: float) -> bytes:
    return b"".join(b"\x2d" + struct.pack("<f", value) for value in values)


def doubles(*values: float) -> bytes:
    return message(8, struct.pack(f"<{len(values)}d", *values))


def unpacked_doubles(*values: float) -> bytes:
    return b"".join(b"\x41" + struct.pack("<d", value) for value in values)


def shape(*axes: int) -> bytes:
    return message(7, message(1, b"".join(map(varint, axes))))


def layer(name: str, *blobs: bytes) -> bytes:
    return message(100, message(1, name.encode()) + b"".join(message(7, blob) for blob in blobs))


def stored(folder: Path, data: bytes) -> Weights:
    """A file of these bytes, opened."""
    (folder / "net.caffemodel").write_bytes(data)
    return open_weights(folder / "net.caffemodel")


def arrays(weights: Weights) -> dict[str, list[FloatArray]]:
    return {name: [blob.array() for blob in blobs] for name, blobs in weights.layers.items()}


FORK = message(50001, b"fork") + b"\x80\xb5\x18\x07"
"""Fields 50001 and 50000, which Caffe's schema does not have."""


ONE = packed(1) + shape(1)
"""A blob of one value."""
