"""Weights out to safetensors and in again: beside the safetensors library where it is installed, and byte by byte."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caffepy.errors import MissingFileError, ProtoError, WeightsError
from caffepy.interop.safetensors import load_safetensors, save_safetensors
from tests.nets import CHAIN, make, noise

SHAPES = {"conv1/0": (4, 3, 3, 3), "conv1/1": (4,), "fc/0": (5, 36), "fc/1": (5,)}


def written(path: Path, tensors: dict[str, tuple[str, list[int], bytes]], **changes: Any) -> Path:
    """A safetensors file made by hand: name -> dtype, shape, bytes; `changes` to the header's entries."""
    header, values = {}, b""
    for key, (dtype, shape, data) in tensors.items():
        places = [len(values), len(values) + len(data)]
        header[key] = {"dtype": dtype, "shape": shape, "data_offsets": places} | changes
        values += data
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + values)
    return path


def floats(shape: tuple[int, ...], seed: int, dtype: str = "<f4") -> bytes:
    return noise(*shape, seed=seed).astype(dtype).tobytes()


def weights(net: Any) -> dict[str, np.ndarray]:
    return {f"{name}/{i}": blob.data.copy() for name, blobs in net.params.items() for i, blob in enumerate(blobs)}


def test_weights_go_out_and_come_back(tmp_path: Path):
    net, other = make(CHAIN, seed=1), make(CHAIN, seed=2)
    path = tmp_path / "weights.safetensors"
    save_safetensors(net, path)
    report = load_safetensors(other, path)
    assert (report.loaded, report.unused, report.unfilled) == (["conv1", "fc"], [], [])
    for key, value in weights(net).items():
        np.testing.assert_array_equal(weights(other)[key], value)


def test_the_file_is_what_the_library_reads_and_writes(tmp_path: Path):
    library = pytest.importorskip("safetensors.numpy", reason="needs pip install safetensors")
    net, path = make(CHAIN), tmp_path / "weights.safetensors"
    save_safetensors(net, path)
    read = library.load_file(path)
    assert {key: value.shape for key, value in read.items()} == SHAPES
    for key, value in weights(net).items():
        np.testing.assert_array_equal(read[key], value)
    library.save_file({key: value * 2 for key, value in read.items()}, path)
    load_safetensors(net, path)
    for key, value in weights(net).items():
        np.testing.assert_array_equal(value, read[key] * 2)


def test_the_header_is_json_and_the_values_are_aligned(tmp_path: Path):
    path = tmp_path / "weights.safetensors"
    net = make(CHAIN)
    save_safetensors(net, path)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    assert length % 8 == 0
    assert {key: tuple(entry["shape"]) for key, entry in header.items() if key != "__metadata__"} == SHAPES
    start, end = header["fc/1"]["data_offsets"]
    assert data[8 + length + start : 8 + length + end] == net.params["fc"][1].data.tobytes()
    assert end == len(data) - 8 - length


@pytest.mark.parametrize(("name", "dtype"), [("F64", "<f8"), ("F16", "<f2"), ("BF16", "<f4")])
def test_other_real_types(tmp_path: Path, name: str, dtype: str):
    values = noise(4, 3, 3, 3, seed=5)
    if name == "BF16":
        raw = (values.view(np.uint32) >> 16).astype("<u2")
        expected = (values.view(np.uint32) & 0xFFFF0000).view(np.float32)
    else:
        raw = values.astype(dtype)
        expected = raw.astype(np.float32)
    bias = ("F32", [4], floats((4,), 6))
    path = written(tmp_path / "w", {"conv1/0": (name, [4, 3, 3, 3], raw.tobytes()), "conv1/1": bias})
    net = make(CHAIN)
    report = load_safetensors(net, path)
    assert (report.loaded, report.unfilled) == (["conv1"], ["fc"])
    np.testing.assert_array_equal(net.params["conv1"][0].data, expected)


def test_layers_with_slashes_and_strange_keys(tmp_path: Path):
    net = make(CHAIN.replace('"fc"', '"ip/1/a"'))
    kept = weights(net)
    entries = {f"ip/1/a/{i}": ("F32", list(shape), floats(shape, i)) for i, shape in enumerate([(5, 36), (5,)])}
    entries |= {"layer1.weight": ("F32", [1], floats((1,), 3)), "gone/0": ("F32", [], floats((), 4))}
    report = load_safetensors(net, written(tmp_path / "w", entries))
    assert (report.loaded, report.unused, report.unfilled) == (["ip/1/a"], ["layer1.weight", "gone"], ["conv1"])
    np.testing.assert_array_equal(net.params["ip/1/a"][0].data, noise(5, 36, seed=0))
    np.testing.assert_array_equal(net.params["conv1"][0].data, kept["conv1/0"])


def test_weights_that_several_layers_share_and_numbers(tmp_path: Path):
    text = """
        layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
        layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" param { name: "w" } param { name: "b" }
                inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
        layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" param { name: "w" } param { name: "b" }
                inner_product_param { num_output: 3 } }
        layer { name: "p" type: "PReLU" bottom: "b" top: "p" prelu_param { channel_shared: true } }
    """
    net, other, path = make(text, seed=1), make(text, seed=2), tmp_path / "w"
    net.params["p"][0].data[...] = 0.5
    save_safetensors(net, path)
    load_safetensors(other, path)
    for key, value in weights(net).items():
        np.testing.assert_array_equal(weights(other)[key], value)


def test_blobs_that_do_not_fit_change_nothing(tmp_path: Path):
    net = make(CHAIN)
    kept = weights(net)
    conv = {f"conv1/{i}": ("F32", list(shape), floats(shape, i)) for i, shape in enumerate([(4, 3, 3, 3), (4,)])}
    for fc, message in [
        (
            {"fc/0": ("F32", [5, 35], floats((5, 35), 0)), "fc/1": ("F32", [5], floats((5,), 0))},
            r"\(5, 36\) in the net",
        ),
        ({"fc/0": ("F32", [5, 36], floats((5, 36), 0))}, "has 1 blob"),
        ({"fc": ("F32", [5, 36], floats((5, 36), 0))}, "has 0 blob"),
    ]:
        with pytest.raises(WeightsError, match=message):
            load_safetensors(net, written(tmp_path / "w", conv | fc))
        for key, value in weights(net).items():
            np.testing.assert_array_equal(value, kept[key])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "I32"}, "dtype I32; expected one of F64"),
        ({"data_offsets": [0, 8]}, "not whole"),
        ({"data_offsets": [400, 416]}, "not whole"),
        ({"data_offsets": [-16, 0]}, "not whole"),
        ({"shape": [2.0]}, "not whole"),
        ({"shape": None}, "gives no dtype, shape and place"),
        ({"dtype": ["F32"]}, "dtype"),
    ],
)
def test_tensors_that_are_not_whole(tmp_path: Path, change: dict[str, Any], message: str):
    path = written(tmp_path / "w", {"fc/1": ("F32", [4], floats((4,), 0))}, **change)
    with pytest.raises(ProtoError, match=message):
        load_safetensors(make(CHAIN), path)


@pytest.mark.parametrize("data", [b"", b"abc", b"\xff" * 16, b"\x02" + b"\0" * 7 + b"[]", b"\x02" + b"\0" * 7 + b"{x"])
def test_what_is_no_safetensors_file(tmp_path: Path, data: bytes):
    path = tmp_path / "w"
    path.write_bytes(data)
    with pytest.raises(ProtoError, match="expected safetensors"):
        load_safetensors(make(CHAIN), path)


def test_files_and_folders_that_are_not_there(tmp_path: Path):
    net = make(CHAIN)
    with pytest.raises(MissingFileError, match="cannot be opened"):
        load_safetensors(net, tmp_path / "none")
    with pytest.raises(MissingFileError, match="no folder"):
        save_safetensors(net, tmp_path / "none" / "w")
    assert not list(tmp_path.iterdir())
