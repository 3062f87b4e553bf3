"""Heads whose boxes are counted on the GPU: as on the CPU, in one piece, whatever the number of boxes was before."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import caffepy
from caffepy.net.rows import counting
from tests.gpu_mode import GPU_MODES, running
from tests.nets import make

RPN = """
force_backward: true
layer { name: "scores" type: "Input" top: "scores" input_param { shape { dim: 2 dim: 4 dim: 3 dim: 4 } } }
layer { name: "deltas" type: "Input" top: "deltas" input_param { shape { dim: 2 dim: 8 dim: 3 dim: 4 } } }
layer { name: "images" type: "Input" top: "images" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "features" type: "Input" top: "features" input_param { shape { dim: 2 dim: 3 dim: 6 dim: 8 } } }
layer { name: "proposal" type: "Proposal" bottom: "scores" bottom: "deltas" bottom: "images" top: "rois" top: "likely"
        proposal_param { feat_stride: 16 base_size: 16 min_size: 4 ratio: 1 scale: 1 scale: 2 nms_thresh: 0.5
                         post_nms_topn: 9 } }
layer { name: "pool" type: "ROIPooling" bottom: "features" bottom: "rois" top: "pool"
        roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.125 } }
layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc"
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } bias_filler { value: 0.1 } } }
layer { name: "relu" type: "ReLU" bottom: "fc" top: "fc" }
layer { name: "drop" type: "Dropout" bottom: "fc" top: "fc" }
layer { name: "score" type: "InnerProduct" bottom: "fc" top: "score"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "score" top: "prob" }
layer { name: "boxes" type: "InnerProduct" bottom: "fc" top: "boxes"
        inner_product_param { num_output: 12 weight_filler { type: "xavier" } } }
layer { name: "apart" type: "Reshape" bottom: "boxes" top: "apart" reshape_param { shape { dim: 0 dim: 3 dim: 4 } } }
"""
REGIONS = ("rois", "likely", "pool", "fc", "prob", "apart")

SSD = """
force_backward: true
layer { name: "location" type: "Input" top: "location" input_param { shape { dim: 2 dim: 80 } } }
layer { name: "confidence" type: "Input" top: "confidence" input_param { shape { dim: 2 dim: 60 } } }
layer { name: "prior" type: "Input" top: "prior" input_param { shape { dim: 1 dim: 2 dim: 80 } } }
layer { name: "found" type: "DetectionOutput" bottom: "location" bottom: "confidence" bottom: "prior" top: "found"
        detection_output_param { num_classes: 3 code_type: CENTER_SIZE confidence_threshold: 0.5 keep_top_k: 12
                                 nms_param { nms_threshold: 0.4 top_k: 10 } } }
"""


@pytest.fixture(params=GPU_MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


def _images(seed: int, likely: float) -> dict[str, np.ndarray]:
    """What an RPN may say of two images; the fewer deltas are sane, the fewer regions there are."""
    rng = np.random.default_rng(seed)
    deltas = rng.normal(0, 0.2, (2, 8, 3, 4)).astype(np.float32)
    deltas[rng.uniform(size=deltas.shape) > likely] = np.nan
    return {
        "scores": rng.integers(0, 5, (2, 4, 3, 4)).astype(np.float32),
        "deltas": deltas,
        "images": np.float32([[48, 64, 1], [48, 60, 1]]),
        "features": rng.standard_normal((2, 3, 6, 8)).astype(np.float32),
    }


def _predictions(seed: int, most: float) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 0.7, (20, 2))
    prior = np.concatenate([low, low + 0.25], axis=1).ravel()
    return {
        "location": rng.normal(0, 1, (2, 80)).astype(np.float32),
        "confidence": rng.uniform(0, most, (2, 60)).astype(np.float32),
        "prior": np.stack([prior, np.full(80, 0.1)])[None].astype(np.float32),
    }


def _fed(net: Any, inputs: dict[str, np.ndarray]) -> None:
    for name, value in inputs.items():
        net.blobs[name].data[...] = value
    net.forward()


def _pair(text: str) -> tuple[Any, Any]:
    """Two nets of the same weights: one for the CPU, one for a GPU."""
    nets = make(text), make(text)
    nets[1].share_with(nets[0])
    return nets


PASSES = [(_images(1, 1.0), 9), (_images(2, 0.7), 2), (_images(3, 1.0), 9), (_images(4, 0.5), 1)]


def test_regions_are_those_of_the_cpu(mode: str) -> None:
    on_cpu, on_gpu = _pair(RPN)
    numbers = set()
    for inputs, least in PASSES:
        with running("cpu"):
            _fed(on_cpu, inputs)
        with running(mode):
            _fed(on_gpu, inputs)
            for name in REGIONS:
                expected = on_cpu.blobs[name].data
                assert on_gpu.blobs[name].shape == expected.shape
                exact = name in ("rois", "likely")
                np.testing.assert_allclose(
                    on_gpu.blobs[name].data, expected, 0 if exact else 1e-5, 0 if exact else 1e-6
                )
        numbers.add(len(expected))
        assert len(expected) >= least
    assert len(numbers) > 2


def test_diffs_are_those_of_the_cpu(mode: str) -> None:
    """Though more regions, and larger diffs, were there before."""
    on_cpu, on_gpu = _pair(RPN)
    names = {"prob": 1.0, "apart": -2.0}
    for inputs, _ in PASSES:
        with running("cpu"):
            _fed(on_cpu, inputs)
            expected = on_cpu.gradient(names, "features")["features"]
            backward = _backward(on_cpu)
        with running(mode) as gpu:
            _fed(on_gpu, inputs)
            found = np.empty_like(expected)
            gpu.download(on_gpu.gradient(names, "features")["features"], found)
            np.testing.assert_allclose(found, expected, 1e-4, 1e-6)
            for ours, of_cpu in zip(_backward(on_gpu), backward, strict=True):
                np.testing.assert_allclose(ours, of_cpu, 1e-4, 1e-6)


def _backward(net: Any) -> list[np.ndarray]:
    net.clear_param_diffs()
    for name in ("prob", "apart"):
        diff = net.blobs[name].diff
        diff[...] = np.arange(diff.size).reshape(diff.shape)
    net.backward()
    return [net.params["fc"][0].diff.copy(), net.params["boxes"][1].diff.copy()]


def test_detections_are_those_of_the_cpu(mode: str) -> None:
    on_cpu, on_gpu = _pair(SSD)
    shapes = set()
    for seed, most in ((1, 1), (2, 0.52), (3, 0.4), (4, 0.6), (5, 1)):
        inputs = _predictions(seed, most)
        with running("cpu"):
            _fed(on_cpu, inputs)
        with running(mode):
            _fed(on_gpu, inputs)
            np.testing.assert_array_equal(on_gpu.blobs["found"].data, on_cpu.blobs["found"].data)
        shapes.add(on_gpu.blobs["found"].shape)
    assert (1, 1, 2, 7) in shapes  # nothing found
    assert len(shapes) > 2


@pytest.mark.parametrize(("text", "inputs"), [(RPN, _images(1, 0.7)), (SSD, _predictions(1, 1))])
def test_the_host_is_asked_for_nothing_before_a_shape(text: str, inputs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with running("gpu-ascending") as gpu:
        net = make(text)
        for _ in range(2):
            _fed(net, inputs)
        downloads: list[int] = []
        download = type(gpu).download

        def noted(self: Any, array: Any, to: np.ndarray) -> None:
            downloads.append(array.nbytes)
            download(self, array, to)

        monkeypatch.setattr(type(gpu), "download", noted)
        net.execution.forward(0, len(net.layers) - 1)
        assert downloads == ([4] if text == RPN else [])  # whether every region is of an item that is there
        del downloads[:]
        name = net.outputs[0]
        assert net.blobs[name].shape == net.blobs[name].shape
        assert downloads == [4]


def test_devices_take_turns() -> None:
    inputs, net = _images(2, 0.7), make(RPN)
    shapes = []
    for mode in ("cpu", "gpu-ascending", "gpu-ascending", "cpu", "gpu-ascending"):
        with running(mode):
            _fed(net, inputs)
            shapes.append((mode, net.blobs["prob"].shape, net.blobs["prob"].data.copy()))
    for _, shape, data in shapes[1:]:
        assert shape == shapes[0][1]
        np.testing.assert_allclose(data, shapes[0][2], 1e-5, 1e-6)


def test_a_script_takes_the_regions_into_its_own_hands() -> None:
    rois = np.float32([[0, 0, 0, 20, 20], [1, 8, 8, 40, 40]])
    with running("gpu-ascending"):
        net = make(RPN)
        _fed(net, _images(1, 1))
        net.blobs["rois"].reshape(2, 5)
        net.blobs["rois"].data[...] = rois
        net.forward(start="pool")
        assert net.blobs["prob"].shape == (2, 3)
        _fed(net, _images(1, 1))
        assert len(net.blobs["prob"].data) > 2


SUM = 'layer { name: "sum" type: "Reduction" bottom: "prob" top: "sum" }'
JOINED = 'layer { name: "both" type: "Concat" bottom: "prob" bottom: "prob" top: "both" concat_param { axis: 0 } }'


@pytest.mark.parametrize(("more", "counted"), [("", True), (SUM, False), (JOINED, False)])
def test_who_asks_for_the_rows_gets_them(more: str, counted: bool) -> None:
    on_cpu, on_gpu = _pair(RPN + more)
    assert bool(counting(on_gpu.execution.layers, on_gpu.execution.wiring)) is counted
    for inputs, _ in PASSES[:2]:
        with running("cpu"):
            _fed(on_cpu, inputs)
        with running("gpu-ascending"):
            _fed(on_gpu, inputs)
            for name in on_cpu.outputs:
                np.testing.assert_allclose(on_gpu.blobs[name].data, on_cpu.blobs[name].data, 1e-5, 1e-6)


@pytest.fixture(autouse=True)
def _afterwards() -> Iterator[None]:
    yield
    caffepy.set_mode_cpu()
