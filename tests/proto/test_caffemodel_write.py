"""Binary weights files, written: as Caffe writes them, whole, without a second copy."""

import os
import struct
import tracemalloc
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from caffepy.errors import ArgumentError, MissingFileError
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import LayerParameter, NetParameter, V1LayerParameter
from caffepy.proto.caffemodel import blob_array, open_weights, write_weights
from tests.proto.by_hand import (
    FORK,
    GOLDEN,
    MODEL,
    ONE,
    FloatArray,
    arrays,
    layer,
    message,
    packed,
    shape,
    stored,
)


def test_fields_of_forks_stay_in_the_layer_and_are_written_back(tmp_path: Path) -> None:
    spec = message(6, b"\x1d" + struct.pack("<f", 2) + FORK)
    text = message(1, b"a") + message(2, b"Fork") + spec + message(7, packed(1) + shape(1)) + FORK
    with stored(tmp_path, message(100, text)) as weights:
        write_weights(tmp_path / "again.caffemodel", weights.net, arrays(weights))
    written = (tmp_path / "again.caffemodel").read_bytes()
    assert written.count(FORK) == 2
    with open_weights(tmp_path / "again.caffemodel") as again:
        assert again.net == weights.net
        assert again.layers["a"][0].array().tolist() == [1]


def random_blobs(*shapes: Sequence[int]) -> list[FloatArray]:
    rng = np.random.default_rng(1)
    return [rng.standard_normal(axes, np.float32) for axes in shapes]


def test_reading_and_writing_need_no_second_copy(tmp_path: Path) -> None:
    net = prototxt.parse('layer { name: "a" } layer { name: "b" }', NetParameter)
    blobs = {"a": random_blobs((1000, 2000), (1000,)), "b": random_blobs((1500, 1000))}
    out = {name: [np.zeros_like(blob) for blob in values] for name, values in blobs.items()}
    tracemalloc.start()
    write_weights(tmp_path / "net.caffemodel", net, blobs, blobs)
    with open_weights(tmp_path / "net.caffemodel") as weights:
        for name, values in weights.layers.items():
            for blob, target in zip(values, out[name], strict=True):
                blob.copy_into(target)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert all(np.array_equal(a, b) for name in blobs for a, b in zip(blobs[name], out[name], strict=True))
    assert peak < 500_000  # of 28 MB, diffs included


def test_what_we_write_is_what_caffe_writes(tmp_path: Path) -> None:
    with open_weights(MODEL) as weights:
        write_weights(tmp_path / "net.caffemodel", weights.net, arrays(weights))
    assert (tmp_path / "net.caffemodel").read_bytes() == MODEL.read_bytes()


def test_protobuf_reads_what_we_write(tmp_path: Path) -> None:
    net = prototxt.read(GOLDEN / "net.prototxt", NetParameter)
    net.layer[2].blobs.add(data=[9])  # left in by accident: not written
    blobs = {"conv": random_blobs((4, 3, 3, 3), (4,)), "ip": random_blobs((5, 64), (), (0, 3))}
    diffs = {"ip": random_blobs((5, 64), (), (0, 3))}
    blobs["conv"][0] = np.asfortranarray(blobs["conv"][0])
    write_weights(str(tmp_path / "net.caffemodel"), net, blobs, diffs)
    read = NetParameter.FromString((tmp_path / "net.caffemodel").read_bytes())
    for part in read.layer:
        for index, (proto, expected) in enumerate(zip(part.blobs, blobs.get(part.name, []), strict=True)):
            assert np.array_equal(blob_array(proto), expected)
            assert list(proto.diff) == (diffs[part.name][index].ravel().tolist() if part.name in diffs else [])
    for param in (read, net):
        for part in param.layer:
            part.ClearField("blobs")
    assert read == net


def test_other_number_types_are_written_as_float32(tmp_path: Path) -> None:
    net = NetParameter(layer=[LayerParameter(name="a")])
    write_weights(tmp_path / "net.caffemodel", net, {"a": [np.array([[1.5, 2.5]]), np.array([3])]})
    with open_weights(tmp_path / "net.caffemodel") as weights:
        assert [values.tolist() for values in arrays(weights)["a"]] == [[[1.5, 2.5]], [3.0]]


def test_arguments_that_do_not_belong_together(tmp_path: Path) -> None:
    net = NetParameter(layer=[LayerParameter(name="a")])
    (blob,) = random_blobs((2, 3))
    old = NetParameter(layers=[V1LayerParameter(name="a")])
    diffs: Mapping[str, Sequence[FloatArray]] | None
    for definition, blobs, diffs, says in [
        (net, {"b": [blob]}, None, "layers that the definition does not have: b"),
        (net, {"a": [blob]}, {"a": [blob.T]}, r"layer 'a' has blobs of shapes \[\(2, 3\)\] and diffs of \[\(3, 2\)\]"),
        (net, {"a": [blob]}, {"a": []}, "and diffs of"),
        (old, {}, None, "call upgrade_net on it first"),
    ]:
        with pytest.raises(ArgumentError, match=says):
            write_weights(tmp_path / "net.caffemodel", definition, blobs, diffs)
    with pytest.raises(MissingFileError, match="there is no folder"):
        write_weights(tmp_path / "gone" / "net.caffemodel", net, {})
    assert os.listdir(tmp_path) == []


def test_a_file_can_be_written_over_itself_while_it_is_open(tmp_path: Path) -> None:
    with stored(tmp_path, layer("a", ONE)) as weights:
        write_weights(weights.path, weights.net, {"a": [np.full(1, 5, np.float32)]})
        assert weights.layers["a"][0].array().tolist() == [1]
    with open_weights(tmp_path / "net.caffemodel") as weights:
        assert weights.layers["a"][0].array().tolist() == [5]
