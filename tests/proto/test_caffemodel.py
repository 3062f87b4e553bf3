"""Binary weights files: read against real Caffe's and protobuf's own reading, damaged in every way, written."""

import logging
import os
import random
import struct
import sys
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from caffepy.errors import ArgumentError, MissingFileError, ProtoError, StateError
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import BlobProto, LayerParameter, NetParameter, V1LayerParameter
from caffepy.proto.caffemodel import Weights, blob_array, blob_shape, open_weights, write_weights
from caffepy.proto.upgrade import upgrade_net
from tests.shared import ROOT, shared

GOLDEN = ROOT / "tests" / "golden" / "caffemodels"
MODEL = GOLDEN / "sgd_momentum_l2_iter_10.caffemodel"
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


def stored(path: Path, data: bytes) -> Weights:
    (path / "net.caffemodel").write_bytes(data)
    return open_weights(path / "net.caffemodel")


def arrays(weights: Weights) -> dict[str, list[FloatArray]]:
    return {name: [blob.array() for blob in blobs] for name, blobs in weights.layers.items()}


def test_a_file_of_real_caffe() -> None:
    expected = np.load(GOLDEN / "weights.npz")
    with open_weights(MODEL) as weights:
        assert weights.path == str(MODEL)
        assert list(weights.layers) == ["conv", "ip"]
        for name, blobs in weights.layers.items():
            for index, blob in enumerate(blobs):
                values = expected[f"{MODEL.stem}/{name}/{index}"]
                assert (blob.shape, blob.count, blob.legacy, blob.index) == (values.shape, values.size, False, index)
                assert np.array_equal(blob.array(), values)
                out = np.full((values.size, 1), np.nan, np.float32)
                blob.copy_into(out)
                assert np.array_equal(out.ravel(), values.ravel())
        definition = weights.net
    assert [(part.name, part.type) for part in definition.layer] == [
        (part.name, part.type) for part in prototxt.read(GOLDEN / "net.prototxt", NetParameter).layer
    ]
    assert not any(part.blobs for part in definition.layer)
    assert definition.layer[2].convolution_param.num_output == 4


@pytest.mark.parametrize(
    "name",
    [
        "mtcnn/det1",
        "deeplandmark-1F/1_F",
        "squeezenet-v1.1/squeezenet_v1.1",
        "wechat-qr/detect",
        "waifu2x-vgg7/scale2.0x_model.json",
        "mobilenet-yolov3-lite-tusimple/mobilenet_yolov3_lite_deploy_iter_50000",
    ],
)
def test_models_in_the_wild_read_as_protobuf_reads_them(name: str) -> None:
    path = shared(f"models/{name}.caffemodel")
    expected = NetParameter.FromString(path.read_bytes())
    upgrade_net(expected)
    with open_weights(path) as weights:
        for part in expected.layer:
            for proto, blob in zip(part.blobs, weights.layers.get(part.name, []), strict=True):
                assert blob.shape == tuple(proto.shape.dim)
                assert np.array_equal(blob.array().ravel(), np.array(proto.data, np.float32), equal_nan=True)
            part.ClearField("blobs")
        assert weights.net == expected


BLOBS = {
    "packed": packed(1, 2, 3, 4, 5, 6) + shape(2, 3),
    "shape first": shape(2, 3) + packed(1, 2, 3, 4, 5, 6),
    "several chunks": packed(1, 2) + shape(2, 3) + packed(3) + packed() + packed(4, 5, 6),
    "unpacked": unpacked(1, 2, 3, 4, 5, 6) + shape(2, 3),
    "unpacked among other fields": unpacked(1, 2) + shape(2, 3) + unpacked(3, 4, 5) + unpacked(6),
    "packed and unpacked": unpacked(1, 2) + packed(3, 4, 5) + unpacked(6) + shape(2, 3),
    "unpacked with a long tag": b"".join(b"\xad\x00" + unpacked(v)[1:] for v in range(1, 7)) + shape(2, 3),
    "doubles": doubles(1, 2, 3, 4, 5, 6) + shape(2, 3),
    "doubles before floats": packed(9) + doubles(1, 2, 3) + doubles(4, 5, 6) + shape(2, 3),
    "empty doubles": packed(1, 2, 3, 4, 5, 6) + doubles() + shape(2, 3),
    "unpacked doubles": unpacked_doubles(1, 2, 3, 4, 5, 6) + shape(2, 3),
    "with diffs": packed(1, 2, 3, 4, 5, 6) + message(6, bytes(24)) + b"\x35" + bytes(4) + shape(2, 3) + message(9, b""),
    "shape in two parts": message(7, message(1, b"\x02")) + packed(1, 2, 3, 4, 5, 6) + message(7, b"\x08\x03"),
    "unknown fields": message(2000, b"x" * 50) + packed(1, 2, 3, 4, 5, 6) + shape(2, 3) + b"\xf8\x7d\x01",
}


@pytest.mark.parametrize("blob", BLOBS.values(), ids=BLOBS.keys())
def test_every_way_to_store_values(tmp_path: Path, blob: bytes) -> None:
    with stored(tmp_path, layer("a", blob, packed(7) + shape(1))) as weights:
        first, second = arrays(weights)["a"]
    assert first.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert second.tolist() == [7]


def test_many_unpacked_values(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal(300_000, np.float32)
    for item, tag in (("<f4", 0x2D), ("<f8", 0x41)):
        table = np.zeros(values.size, [("tag", "u1"), ("value", item)])
        table["tag"], table["value"] = tag, values
        with stored(tmp_path, layer("a", table.tobytes() + shape(values.size))) as weights:
            assert np.array_equal(weights.layers["a"][0].array(), values)


def test_legacy_shapes(tmp_path: Path) -> None:
    protos = [
        BlobProto(num=1, channels=1, height=2, width=3, data=range(6)),
        BlobProto(width=2),
        BlobProto(num=5, data=[]),
    ]
    protos[0].shape.dim.extend([6])
    net = NetParameter(layer=[LayerParameter(name="a", blobs=protos)])
    with stored(tmp_path, net.SerializeToString()) as weights:
        blobs = weights.layers["a"]
        assert [blob.shape for blob in blobs] == [(1, 1, 2, 3), (0, 0, 0, 2), (5, 0, 0, 0)]
        assert all(blob.legacy for blob in blobs)
        assert [blob.array().ravel().tolist() for blob in blobs] == [[0, 1, 2, 3, 4, 5], [], []]


def test_a_blob_without_axes_is_one_value(tmp_path: Path) -> None:
    with stored(tmp_path, layer("a", packed(3))) as weights:
        (blob,) = weights.layers["a"]
        assert (blob.shape, blob.array().tolist()) == ((), 3)


def test_v1_and_v0_files(tmp_path: Path) -> None:
    blobs = [BlobProto(num=1, channels=1, height=1, width=2, data=[1, 2]), BlobProto(data=[3])]
    v1 = NetParameter(layers=[V1LayerParameter(name="ip", type=V1LayerParameter.INNER_PRODUCT, blobs=blobs)])
    v1.layers[0].blobs_lr.append(2)
    v0 = NetParameter(layers=[V1LayerParameter(bottom=["x"]), V1LayerParameter(top=["y"])], input=["x"])
    v0.layers[0].layer.name, v0.layers[0].layer.type = "ip", "innerproduct"
    v0.layers[0].layer.blobs.extend(blobs)
    v0.layers[0].layer.blobs_lr.append(2)
    v0.layers[1].layer.name, v0.layers[1].layer.type = "out", "relu"
    for net in (v1, v0):
        with stored(tmp_path, net.SerializeToString()) as weights:
            assert {name: [a.tolist() for a in values] for name, values in arrays(weights).items()} == {
                "ip": [[[[[1, 2]]]], 3]
            }
            upgrade_net(net)
            net.layer[0].ClearField("blobs")
            assert weights.net == net
            assert (net.layer[0].type, net.layer[0].param[0].lr_mult) == ("InnerProduct", 2)


def test_the_last_layer_of_a_name_counts(tmp_path: Path) -> None:
    one, two = packed(1) + shape(1), packed(2) + shape(1)
    with stored(tmp_path, layer("a", one) + layer("b", one) + layer("a", two) + layer("a")) as weights:
        assert {name: [a.tolist() for a in values] for name, values in arrays(weights).items()} == {
            "b": [[1]],
            "a": [[2]],
        }
        assert [part.name for part in weights.net.layer] == ["a", "b", "a", "a"]


FORK = message(50001, b"fork") + b"\x80\xb5\x18\x07"
"""Fields 50001 and 50000, which Caffe's schema does not have."""


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


def test_settings_that_a_fork_numbered_its_own_way_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clash = message(147, b"\xff\xff\xff") + message(107, message(1, b"\xff\xfe"))
    text = message(1, b"a") + message(2, b"Fork") + clash + message(7, packed(1) + shape(1))
    with caplog.at_level(logging.WARNING, "caffepy"), stored(tmp_path, message(100, text)) as weights:
        assert weights.net == NetParameter(layer=[LayerParameter(name="a", type="Fork")])
        assert weights.layers["a"][0].array().tolist() == [1]
    assert [record.message.split(": ", 1)[1] for record in caplog.records] == [
        f"field {number} of LayerParameter cannot be read and is left out; did a fork of Caffe write it?"
        for number in (147, 107)
    ]


ONE = packed(1) + shape(1)
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


def test_a_file_beyond_two_gigabytes(tmp_path: Path) -> None:
    count = (2**31 + 2**28) // 4
    head = varint(8 * 5 + 2) + varint(4 * count)
    blob = len(head) + 4 * count + len(shape(count))
    text = message(1, b"big") + varint(8 * 7 + 2) + varint(blob) + head
    size = len(text) + 4 * count + len(shape(count))
    with (tmp_path / "net.caffemodel").open("wb") as file:  # a hole: the values take no room on the disk
        file.write(varint(8 * 100 + 2) + varint(size) + text)
        file.seek(4 * count, os.SEEK_CUR)
        file.write(shape(count) + layer("small", packed(1, 2) + shape(2)))
    with open_weights(tmp_path / "net.caffemodel") as weights:
        assert [weights.layers[name][0].count for name in ("big", "small")] == [count, 2]
        assert weights.layers["small"][0].array().tolist() == [1, 2]


def random_blobs(*shapes: Sequence[int]) -> list[FloatArray]:
    rng = np.random.default_rng(1)
    return [rng.standard_normal(axes, np.float32) for axes in shapes]


def test_reading_and_writing_need_no_second_copy(tmp_path: Path) -> None:
    net = prototxt.parse('layer { name: "a" } layer { name: "b" }', NetParameter)
    blobs = {"a": random_blobs((1000, 2000), (1000,)), "b": random_blobs((1500, 1000))}
    out = {name: [np.zeros_like(blob) for blob in values] for name, values in blobs.items()}
    tracemalloc.start()
    write_weights(tmp_path / "net.caffemodel", net, blobs)
    with open_weights(tmp_path / "net.caffemodel") as weights:
        for name, values in weights.layers.items():
            for blob, target in zip(values, out[name], strict=True):
                blob.copy_into(target)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert all(np.array_equal(a, b) for name in blobs for a, b in zip(blobs[name], out[name], strict=True))
    assert peak < 500_000  # of 14 MB


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
    for wrong, says in [
        ((net, {"b": [blob]}), "layers that the definition does not have: b"),
        (
            (net, {"a": [blob]}, {"a": [blob.T]}),
            r"layer 'a' has blobs of shapes \[\(2, 3\)\] and diffs of \[\(3, 2\)\]",
        ),
        ((net, {"a": [blob]}, {"a": []}), "and diffs of"),
        ((NetParameter(layers=[V1LayerParameter(name="a")]), {}), "call upgrade_net on it first"),
    ]:
        with pytest.raises(ArgumentError, match=says):
            write_weights(tmp_path / "net.caffemodel", *wrong)  # type: ignore[arg-type]
    with pytest.raises(MissingFileError, match="there is no folder"):
        write_weights(tmp_path / "gone" / "net.caffemodel", net, {})
    assert os.listdir(tmp_path) == []


def test_a_file_can_be_written_over_itself_while_it_is_open(tmp_path: Path) -> None:
    with stored(tmp_path, layer("a", ONE)) as weights:
        write_weights(weights.path, weights.net, {"a": [np.full(1, 5, np.float32)]})
        assert weights.layers["a"][0].array().tolist() == [1]
    with open_weights(tmp_path / "net.caffemodel") as weights:
        assert weights.layers["a"][0].array().tolist() == [5]


def test_blobs_in_memory() -> None:
    mean = BlobProto(num=1, channels=2, height=1, width=2, data=[1, 2, 3, 4])
    assert blob_shape(mean) == (1, 2, 1, 2)
    assert blob_array(mean).tolist() == [[[[1, 2]], [[3, 4]]]]
    assert blob_array(mean).dtype == np.float32
    precise = BlobProto(double_data=[1 / 3, 1e300])
    precise.shape.dim.append(2)
    assert blob_array(precise).tolist() == [np.float32(1 / 3), np.inf]
    precise.shape.dim[0] = 3
    with pytest.raises(ProtoError, match=r"the blob has shape \(3,\), which is 3 values, and 2 are stored"):
        blob_array(precise)
