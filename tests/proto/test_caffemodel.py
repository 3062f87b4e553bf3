"""Binary weights files, read: against real Caffe's and protobuf's own reading."""

import os
from pathlib import Path

import numpy as np
import pytest

from caffepy.errors import ProtoError
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import BlobProto, LayerParameter, NetParameter, V1LayerParameter
from caffepy.proto.caffemodel import blob_array, blob_shape, open_weights
from caffepy.proto.upgrade import upgrade_net
from tests.proto.by_hand import (
    GOLDEN,
    MODEL,
    arrays,
    doubles,
    layer,
    message,
    packed,
    shape,
    stored,
    unpacked,
    unpacked_doubles,
    varint,
)
from tests.shared import shared


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
        for part in weights.net.layer:
            kept = b"".join(part.foreign_fields)
            part.ClearField("foreign_fields")
            part.MergeFromString(kept)
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
        assert list(weights.layers) == ["b", "a"]
        assert [part.name for part in weights.net.layer] == ["a", "b", "a", "a"]


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
