"""Blobs as C3D writes them: five axes as numbers of their own, values where Caffe has diffs."""

from pathlib import Path

import numpy as np
import pytest

import caffepy
from caffepy.errors import ProtoError
from caffepy.io import blobproto_to_array
from caffepy.proto.caffe_pb2 import BlobProto
from caffepy.proto.caffemodel import open_weights
from tests.proto.by_hand import message

VALUES = np.arange(1, 25, dtype="<f4")


def blob(*axes: int, values: bytes = VALUES.tobytes()) -> bytes:
    numbers = b"".join(bytes([8 * i, axis]) for i, axis in enumerate(axes, start=1))
    return numbers + message(6, values)


def test_a_mean() -> None:
    mean = blobproto_to_array(BlobProto.FromString(blob(1, 3, 2, 2, 2)))
    np.testing.assert_array_equal(mean, np.arange(1, 25).reshape(1, 3, 2, 2, 2))


def test_weights(tmp_path: Path) -> None:
    biases = blob(1, 1, 1, 1, 2, values=VALUES[:2].tobytes())
    layer = message(4, b"fc") + b"\x28\x0e" + message(6, blob(1, 1, 1, 2, 12)) + message(6, biases)
    (tmp_path / "c3d.caffemodel").write_bytes(message(1, b"net") + message(2, layer))
    (tmp_path / "net.prototxt").write_text(
        """input: "x" input_dim: 1 input_dim: 3 input_dim: 2 input_dim: 2 input_dim: 1
        layers { name: "fc" type: INNER_PRODUCT bottom: "x" top: "fc" inner_product_param { num_output: 2 } }"""
    )
    net = caffepy.Net(tmp_path / "net.prototxt", caffepy.TEST, weights=tmp_path / "c3d.caffemodel")
    np.testing.assert_array_equal(net.params["fc"][0].data, VALUES.reshape(2, 12))
    np.testing.assert_array_equal(net.params["fc"][1].data, [1, 2])


def test_values_that_do_not_fit(tmp_path: Path) -> None:
    layer = message(4, b"fc") + b"\x28\x0e" + message(6, blob(1, 1, 1, 2, 11))
    (tmp_path / "c3d.caffemodel").write_bytes(message(1, b"net") + message(2, layer))
    with pytest.raises(ProtoError, match="which is 22 values, and 24 are stored"):
        open_weights(tmp_path / "c3d.caffemodel")
