"""Weights files that are damaged, cut, closed or something else altogether."""

import os
import random
import sys
from pathlib import Path

import numpy as np
import pytest

from caffepy.errors import ArgumentError, MissingFileError, ProtoError, StateError
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import BlobProto, NetParameter
from caffepy.proto.caffemodel import Weights, open_weights
from tests.proto.by_hand import (
    FORK,
    MODEL,
    ONE,
    FloatArray,
    arrays,
    doubles,
    layer,
    message,
    packed,
    shape,
    stored,
    unpacked,
    unpacked_doubles,
)

DAMAGED = [
    (b"", "expected weights; the file is empty"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git-lfs pointer, not the file it stands for"),
    (b"\x1f\x8b\x08\x00", "gzip archive; unpack it first"),
    (
        b'name: "net"\nlayer {}\n',
        "found text, which begins 'name: \"net\"'; if this is the prototxt, give the .caffemodel",
    ),
    (BlobProto(num=1, data=[1]).SerializeToString(), "found no layer in it; is it a mean or a solver state?"),
    (layer("a", packed(1, 2) + shape(3)), "layer 'a', blob 0 has shape (3,), which is 3 values, and 2 are stored"),
    (layer("a", ONE, shape(2, 2)), "layer 'a', blob 1 has shape (2, 2), which is 4 values, and 0 are stored"),
    (layer("a", packed(1, 2) + packed(3)), "has shape (), which is 1 values, and 3 are stored"),
    (layer("a", message(5, b"12345") + shape(1)), "expected whole values of 4 bytes"),
    (layer("a", shape(*[1] * 33) + packed(1)), "axes are at most 32 and not negative"),
    (
        layer("a", message(7, message(1, b"\xff" * 9 + b"\x01")) + packed(1)),
        "blob 0 cannot be read (a blob has the shape (-1,)",
    ),
    (layer("a", ONE)[:-1], "byte 0: field 100 needs"),
    (layer("a", ONE) + b"\xa2\x06\x50abc", "byte 19: field 100 needs 80 bytes and 3 are left"),
    (message(100, message(1, b"\xff\xfe")), "byte 3: field 1 of LayerParameter cannot be read"),
    (layer("a") + message(2, message(4, b"b")), "has both `layer` ('a', ...) and `layers` ('b', ...)"),
]


@pytest.mark.parametrize(("data", "says"), DAMAGED, ids=[says[:40] for _, says in DAMAGED])
def test_what_is_no_weights_file(tmp_path: Path, data: bytes, says: str) -> None:
    with pytest.raises(ProtoError) as caught:
        stored(tmp_path, data)
    assert str(caught.value).startswith(str(tmp_path / "net.caffemodel"))
    assert says in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.caffemodel", tmp_path):
        with pytest.raises(MissingFileError, match="cannot be opened"):
            open_weights(path)


def read_or_refused(folder: Path, data: bytes) -> Weights | None:
    """The closed Weights after every value was read, None if a ProtoError said that it cannot be."""
    try:
        with stored(folder, data) as weights:
            arrays(weights)
            assert prototxt.format(weights.net)
            return weights
    except ProtoError:
        return None


SMALL = (
    NetParameter(name="net", force_backward=True).SerializeToString()
    + layer("a", packed(1, 2) + shape(2), unpacked(3, 4, 5) + shape(3))
    + layer("b")
    + layer("c", doubles(6) + shape(1), unpacked_doubles(7, 8) + message(6, bytes(8)) + shape(1, 2))
    + FORK
)


def test_a_file_cut_at_any_byte_is_refused_or_gives_its_first_layers(tmp_path: Path) -> None:
    with stored(tmp_path, SMALL) as weights:
        whole = list(weights.net.layer)
    parts = [list(found.net.layer) for n in range(len(SMALL)) if (found := read_or_refused(tmp_path, SMALL[:n]))]
    assert parts == [whole[:1], whole[:2], whole, whole]  # the last two: without one or both of the fork's fields


@pytest.mark.parametrize("data", [SMALL, MODEL.read_bytes()], ids=["small", "real"])
def test_flipped_bytes_raise_nothing_but_proto_errors(tmp_path: Path, data: bytes) -> None:
    structure = [i for i in range(len(data)) if i < 140 or 550 < i < 690 or i > 1960]  # all but long runs of values
    rng = random.Random(0)
    read = 0
    for _ in range(200):
        damaged = bytearray(data)
        for _ in range(rng.choice([1, 1, 3, 10])):
            damaged[rng.choice(structure)] = rng.randrange(256)
        read += read_or_refused(tmp_path, bytes(damaged)) is not None
    assert 0 < read < 200


def test_a_file_cut_while_it_is_open_raises(tmp_path: Path) -> None:
    with stored(tmp_path, layer("a", packed(*range(9000)) + shape(9000))) as weights:
        os.truncate(tmp_path / "net.caffemodel", 20_000)
        with pytest.raises(ProtoError, match=r"byte 20000: the file ends here, .* it changed while it was read"):
            weights.layers["a"][0].array()


def test_a_closed_file_says_so() -> None:
    with open_weights(MODEL) as weights:
        pass
    weights.close()
    assert weights.net.layer
    with pytest.raises(StateError, match="the file is closed"):
        weights.layers["conv"][0].array()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_neither_map_nor_descriptor_survives(tmp_path: Path) -> None:
    def held() -> int:
        links = [os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
        files = [os.readlink(link) for link in links if os.path.islink(link)]
        return files.count(str(MODEL)) + Path("/proc/self/maps").read_text().count(str(MODEL))

    with open_weights(MODEL) as weights:
        assert held() == 1
        values = arrays(weights)
    assert held() == 0
    assert values
    with pytest.raises(ProtoError):
        stored(tmp_path, layer("a", ONE)[:-1])
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()


@pytest.mark.parametrize(
    "out",
    [
        np.empty(4, np.float64),
        np.empty(5, np.float32),
        np.empty((2, 4), np.float32)[:, ::2],
        np.empty((4, 4), np.float32)[0:0],
    ],
    ids=["float64", "too long", "strided", "empty"],
)
def test_copy_into_takes_only_what_fits(out: FloatArray) -> None:
    with open_weights(MODEL) as weights, pytest.raises(ArgumentError, match="C-contiguous float32 array of 4 values"):
        weights.layers["conv"][1].copy_into(out)
