"""Nets whose weights lie on the GPU in 16 bits."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caffepy
from caffepy.blob.halves import rounded, widened
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import NetParameter
from tests.gpu_mode import REAL, running
from tests.nets import make, noise
from tests.proto.by_hand import layer, message, shape

NET = """
force_backward: true
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 9 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: "xavier" } bias_filler { value: 0.1 } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "depthwise" type: "Convolution" bottom: "conv" top: "depthwise"
        convolution_param { num_output: 8 group: 8 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "up" type: "Deconvolution" bottom: "depthwise" top: "up"
        convolution_param { num_output: 4 kernel_size: 2 stride: 2 weight_filler { type: "xavier" } } }
layer { name: "fc" type: "InnerProduct" bottom: "up" top: "fc"
        inner_product_param { num_output: 6 weight_filler { type: "xavier" } } }
"""
HALVED = "conv", "up", "fc"


@pytest.fixture(params=["fp16", "bf16"])
def number_format(request: pytest.FixtureRequest) -> Iterator[Any]:
    caffepy.set_precision(request.param)
    yield request.param
    caffepy.set_precision("fp32")
    caffepy.set_mode_cpu()


@pytest.fixture(params=["gpu-ascending", REAL])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _run(net: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    net.blobs["data"].data[...] = noise(2, 3, 9, 8)
    top = net.forward()["fc"].copy()
    net.clear_param_diffs()
    net.blobs["fc"].diff[...] = noise(2, 6)
    net.backward()
    return top, net.blobs["data"].diff.copy(), net.params["conv"][0].diff.copy()


def _rounded_on_cpu(net: Any, number_format: Any) -> Any:
    """A copy of the net whose weights are rounded, for the CPU."""
    copy = make(NET)
    for name in net.params:
        for i, blob in enumerate(net.params[name]):
            halved = name in HALVED and i == 0
            bits = rounded(blob.data, number_format)
            copy.params[name][i].data[...] = widened(bits, number_format) if halved else blob.data
    return copy


def _agree(net: Any, number_format: Any, mode: str) -> None:
    """With the CPU's results of rounded weights, as closely as rounded pixels and diffs allow."""
    with running("cpu"):
        expected = _run(_rounded_on_cpu(net, number_format))
    with running(mode):
        found = _run(net)
    step = 2.0**-8 if number_format == "fp16" else 2.0**-5
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=step, atol=step * np.abs(theirs).max())


def test_passes_are_those_of_rounded_weights(number_format: Any, mode: str) -> None:
    _agree(make(NET), number_format, mode)


def test_weights_lie_on_the_gpu_in_16_bits_alone(number_format: Any, mode: str) -> None:
    net = make(NET)
    with running(mode) as gpu:
        for _ in range(3):
            net.blobs["data"].data[...] = noise(2, 3, 9, 8)
            net.forward()
            net.gradient({"fc": 1.0})
        for name in HALVED:
            storage = net.params[name][0].data_storage
            assert storage.gpu is None
            (home,) = storage.homes
            found = np.empty(home.array.shape, np.uint16)
            gpu.download(home.array, found)
            np.testing.assert_array_equal(found, rounded(net.params[name][0].read().ravel(), number_format))
        assert net.params["depthwise"][0].data_storage.gpu is gpu


def test_scripts_see_what_they_wrote_and_passes_what_is_new(number_format: Any, mode: str) -> None:
    net = make(NET)
    with running(mode):
        for _ in range(3):  # replayed by now
            _run(net)
    kept = net.params["conv"][0].data
    for value in (1 / 3, np.pi):
        kept[...] = value * noise(*kept.shape)  # by a view that lives on
        before = kept.copy()
        _agree(net, number_format, mode)
        np.testing.assert_array_equal(net.params["conv"][0].data, before)


def test_weights_written_on_the_gpu_are_rounded_anew(number_format: Any, mode: str) -> None:
    net = make(NET)
    with running(mode) as gpu:
        for _ in range(2):
            _run(net)
        weight = net.params["fc"][0]
        changed = noise(*weight.shape)
        gpu.upload(changed, weight.gpu_data)
    _agree(net, number_format, mode)
    np.testing.assert_array_equal(net.params["fc"][0].data, changed)


def test_precisions_take_turns(mode: str) -> None:
    net = make(NET)
    found = {}
    with running(mode):
        for name in ("fp32", "fp16", "bf16", "fp16", "fp32", "tf32"):
            caffepy.set_precision(name)
            try:
                top = _run(net)[0]
            finally:
                caffepy.set_precision("fp32")
            np.testing.assert_array_equal(found.setdefault(name, top), top)
    errors = {name: np.abs(top - found["fp32"]).max() for name, top in found.items()}
    assert 0 == errors["fp32"] < errors["fp16"] < errors["bf16"]


def test_the_cpu_computes_in_single_precision(number_format: Any) -> None:
    net = make(NET)
    found = _run(net)
    caffepy.set_precision("fp32")
    for ours, theirs in zip(found, _run(net), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_nvcaffes_halves_go_to_the_gpu_as_they_lie_in_the_file(tmp_path: Path, mode: str) -> None:
    text = """
        name: "nv" default_forward_type: FLOAT16 default_backward_type: FLOAT16 default_forward_math: FLOAT
        layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 } } }
        layer { name: "fc" type: "InnerProduct" bottom: "x" top: "fc" forward_type: FLOAT16 backward_type: FLOAT16
                inner_product_param { num_output: 2 bias_term: false } }"""
    values = np.array([[1, -0.5, 2**-24], [65504, 0.1, 3]], "<f2")
    file = tmp_path / "nv.caffemodel"
    file.write_bytes(layer("fc", b"\x50\x02" + message(12, values.tobytes()) + shape(*values.shape)))  # 2: FLOAT16
    net = caffepy.Net(prototxt.parse(text, NetParameter), caffepy.TEST)
    net.copy_from(str(file))
    caffepy.set_precision("fp16")
    try:
        with running(mode) as gpu:
            net.blobs["x"].data[...] = [1, 2, 4]
            (top,) = net.forward()["fc"]
            np.testing.assert_allclose(top, values.astype(np.float64) @ [1, 2, 4], rtol=1e-6)
            (home,) = net.params["fc"][0].data_storage.homes
            found = np.empty(6, np.uint16)
            gpu.download(home.array, found)
            assert found.tobytes() == values.tobytes()
    finally:
        caffepy.set_precision("fp32")
        caffepy.set_mode_cpu()
