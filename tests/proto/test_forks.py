"""Files of forks: settings whose numbers mean something else, values as NVCaffe stores them, fields told otherwise."""

import struct
from pathlib import Path

import numpy as np
import pytest

from caffepy.errors import ProtoError
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import LayerParameter, NetParameter
from caffepy.proto.caffemodel import open_weights, write_weights
from caffepy.proto.upgrade import upgrade_net
from tests.proto.by_hand import ONE, arrays, layer, message, packed, shape, stored

SWISH_IN_CAFFE = message(147, b"\x0d" + struct.pack("<f", 2))  # beta: 2, or field 1 of what a fork has there
NO_UTF8 = message(107, message(1, b"\xff\xfe"))
CORRELATION_IN_UNION = message(50015, b"\x10\x07")


def fork_layer(kind: bytes, *settings: bytes) -> bytes:
    return message(100, message(1, b"a") + message(2, kind) + b"".join(settings) + message(7, ONE))


@pytest.mark.parametrize("kind", [b"ROIPooling", b"Convolution"])
def test_settings_of_other_meaning_are_kept_and_not_read(tmp_path: Path, kind: bytes) -> None:
    clashes = [NO_UTF8, CORRELATION_IN_UNION, message(147, b"\xff\xff\xff")]
    if kind == b"ROIPooling":
        clashes.append(SWISH_IN_CAFFE)
    unknown = message(8266711, b"\x08\x07")
    with stored(tmp_path, fork_layer(kind, *clashes, unknown)) as weights:
        (found,) = weights.net.layer
        assert {field.name for field, _ in found.ListFields()} == {"name", "type", "foreign_fields"}
        write_weights(tmp_path / "again.caffemodel", weights.net, arrays(weights))
    written = (tmp_path / "again.caffemodel").read_bytes()
    assert all(written.count(field) == 1 for field in [*clashes, unknown])
    with open_weights(tmp_path / "again.caffemodel") as again:
        assert again.net == weights.net
        assert again.layers["a"][0].array().tolist() == [1]


def test_settings_of_caffes_own_types_are_read(tmp_path: Path) -> None:
    with stored(tmp_path, fork_layer(b"Swish", SWISH_IN_CAFFE)) as weights:
        assert weights.net.layer[0].swish_param.beta == 2


def test_fields_of_forks_are_never_written(tmp_path: Path) -> None:
    text = """
    engine: "MKL2017"
    layer { name: "a" type: "Permute" permute_param { order: 1 }
            transform_param { scale: 2 resize_param { width: 8 } } }
    layer { name: "b" type: "Pooling" pooling_param { pool: AVE_EXC_PAD kernel_size: 2 pad_l: 1 } }
    """
    net = prototxt.parse(text, NetParameter)
    path = tmp_path / "net.caffemodel"
    write_weights(path, net, {"a": [np.ones(1, np.float32)]})
    plain = """
    layer { name: "a" type: "Permute" transform_param { scale: 2 } }
    layer { name: "b" type: "Pooling" pooling_param { kernel_size: 2 } }
    """
    expected = prototxt.parse(plain, NetParameter)
    expected.layer[0].blobs.add(data=[1]).shape.dim.append(1)
    assert NetParameter.FromString(path.read_bytes()) == expected
    assert net.layer[0].permute_param.order == [1]


@pytest.mark.parametrize(("number", "item"), [(0, "<f8"), (1, "<f4"), (2, "<f2")])
@pytest.mark.parametrize("first", ["type", "values"])
def test_nvcaffe_values(tmp_path: Path, number: int, item: str, first: str) -> None:
    values = np.array([[1, -0.5, 65504], [2**-24, 0, 3]], item)
    parts = [b"\x50" + bytes([number]), message(12, values.tobytes())]
    diffs = b"\x58" + bytes([number]) + message(13, values.tobytes())
    blob = b"".join(parts if first == "type" else parts[::-1]) + diffs + shape(2, 3)
    with stored(tmp_path, layer("a", blob)) as weights:
        (found,) = weights.layers["a"]
        assert np.array_equal(found.array(), values.astype(np.float32))


@pytest.mark.parametrize(
    ("blob", "says"),
    [
        (b"\x50\x02" + message(12, b"abc") + shape(2), "expected whole values of 2 bytes"),
        (b"\x50\x02" + message(12, b"abcd") + shape(3), "which is 3 values, and 2 are stored"),
        (b"\x50\x03" + message(12, b"abcd") + shape(1), "a fork of Caffe wrote the values its own way"),
        (message(12, b"abcd") + shape(1), "a fork of Caffe wrote the values its own way"),
    ],
)
def test_nvcaffe_values_that_do_not_fit(tmp_path: Path, blob: bytes, says: str) -> None:
    with pytest.raises(ProtoError, match=says):
        stored(tmp_path, layer("a", blob))


def test_float_values_count_before_raw_ones(tmp_path: Path) -> None:
    with stored(tmp_path, layer("a", packed(1) + b"\x50\x02" + message(12, b"ab") + shape(1))) as weights:
        assert arrays(weights)["a"][0].tolist() == [1]


def upgraded(text: str) -> list[LayerParameter]:
    net = prototxt.parse(text, NetParameter)
    assert upgrade_net(net)
    assert upgrade_net(net) == []
    return list(net.layer)


def conv(padding: str, rest: str = "kernel_size: 3") -> str:
    return f'layer {{ name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param {{ {padding} {rest} }} }}'


def pool(settings: str, method: str = "MAX") -> str:
    param = f"pool: {method} kernel_size: 2 {settings}"
    return f'layer {{ name: "p" type: "Pooling" bottom: "x" pooling_param {{ {param} }} }}'


@pytest.mark.parametrize(
    ("fork", "caffe"),
    [
        (pool("ceil_mode: false"), pool("round_mode: FLOOR")),
        (pool("ceil_mode: true"), pool("round_mode: CEIL")),
        (pool("pad_type: 0 pad_l: 0 pad_r: 0", "AVE_EXC_PAD"), pool("", "AVE")),
        (pool("pad_l: 1 pad_r: 1"), pool("pad_h: 0 pad_w: 1")),
        (conv("pad_l: 0 pad_r: 0 pad_t: 0 pad_b: 0 pad: 1"), conv("pad: 1")),
        (conv("pad_l: 1 pad_r: 1 pad_t: 2 pad_b: 2"), conv("pad_h: 2 pad_w: 1")),
        (conv("pad_type: 1"), conv("pad_h: 1 pad_w: 1")),
        (conv("pad_type: 1", "kernel_size: 3 dilation: 2"), conv("pad_h: 2 pad_w: 2", "kernel_size: 3 dilation: 2")),
        ('layer { type: "ReLU" relu_param { relu6: true } }', 'layer { type: "ReLU6" relu_param {} }'),
        (
            'layer { type: "EltwiseAccuracy" eltwise_accuracy_param { ignore_label: 255 } }',
            'layer { type: "Accuracy" accuracy_param { top_k: 1 ignore_label: 255 } }',
        ),
        (
            'layer { type: "ImageData" image_data_param { images_in_color: false } }',
            'layer { type: "ImageData" image_data_param { is_color: false } }',
        ),
        ('layer { type: "EltwiseProduct" }', 'layer { type: "Eltwise" eltwise_param { operation: PROD } }'),
        (conv("hole: 2"), conv("dilation: 2")),
        (conv("hole_h: 2"), conv("dilation: 2 dilation: 1")),
        (conv("kstride: 4"), conv("dilation: 4")),
    ],
)
def test_fields_that_caffe_spells_otherwise(fork: str, caffe: str) -> None:
    assert upgraded(fork) == list(prototxt.parse(caffe, NetParameter).layer)


@pytest.mark.parametrize(
    ("fork", "paddings", "value"),
    [
        (conv("pad_l: 1 pad_r: 2 pad_t: 3 pad_b: 4"), [0, 0, 0, 0, 3, 4, 1, 2], 0),
        (conv("pad_type: 1", "kernel_h: 4 kernel_w: 3"), [0, 0, 0, 0, 1, 2, 1, 1], 0),
        (pool("pad_type: 1"), [0, 0, 0, 0, 0, 1, 0, 1], -np.finfo(np.float32).max),
        (pool("pad_b: 1", "AVE"), [0, 0, 0, 0, 0, 1, 0, 0], 0),
    ],
)
def test_uneven_padding_becomes_a_layer(fork: str, paddings: list[int], value: float) -> None:
    pad, window = upgraded(fork)
    assert (pad.type, list(pad.bottom), list(pad.top)) == ("Pad", ["x"], list(window.bottom))
    assert list(pad.pad_param.paddings) == paddings
    assert pad.pad_param.constant_values == np.float32(value)
    assert pad.name == pad.top[0] == f"{window.name}_pad"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (conv("pad_type: 1 stride: 2"), "layer 'c': pad_type: 1 with a stride is not known; give pad_l"),
        (conv("pad_type: 1 stride_h: 2 stride_w: 2"), "layer 'c': pad_type: 1 with a stride is not known; give pad_l"),
        (conv("pad_l: 1").replace('bottom: "x"', ""), "layer 'c': uneven padding .* needs one bottom, got"),
        (pool("pad_l: 1", "AVE_EXC_PAD"), "layer 'p': AVE_EXC_PAD is known without padding only"),
    ],
)
def test_padding_that_is_refused(text: str, says: str) -> None:
    with pytest.raises(ProtoError, match=says):
        upgrade_net(prototxt.parse(text, NetParameter))
