"""Nets that detect: trained ones against OpenCV's answers, and a small one on the CPU and on the emulated GPU."""

from collections.abc import Iterator

import numpy as np
import pytest

import caffepy as caffe
from tests.gpu_mode import REAL, downloaded, running
from tests.nets import make
from tests.shared import shared


@pytest.fixture(params=["cpu", "gpu-ascending", REAL])
def mode(request: pytest.FixtureRequest) -> Iterator[None]:
    with running(request.param):
        yield


def answers(golden: str, model: str, weights: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What the net gives, and what OpenCV's importer gave, by blob."""
    numbers = np.load(shared(f"golden/nets/{golden}.npz"))
    net = caffe.Net(str(shared(f"models/{model}")), str(shared(f"models/{weights}")), caffe.TEST)
    (name,) = net.inputs
    net.blobs[name].reshape(*numbers["x"].shape)
    expected = {key[4:]: numbers[key] for key in numbers.files if key.startswith("out/")}
    return net.forward(**{name: numbers["x"]}), expected


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize(
    ("golden", "model", "weights"),
    [
        ("opencv_res10_face_astronaut", "res10-ssd-face/deploy", "res10-ssd-face/res10_300x300_ssd_iter_140000"),
        ("opencv_wechat_detect", "wechat-qr/detect", "wechat-qr/detect"),
    ],
)
def test_detections(golden: str, model: str, weights: str) -> None:
    got, expected = answers(golden, f"{model}.prototxt", f"{weights}.caffemodel")
    ((name, rows),) = expected.items()
    there = rows[0, 0, :, 2] > 0  # OpenCV fills up to keep_top_k with zeros
    assert got[name].shape == (1, 1, np.count_nonzero(there), 7)
    np.testing.assert_allclose(got[name][0, 0], rows[0, 0, there], 1e-3, 1e-4)


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize(
    ("golden", "model", "weights"),
    [
        ("opencv_ultraface", "ultraface-rfb320/RFB-320", "ultraface-rfb320/RFB-320"),
        ("opencv_wechat_sr", "wechat-qr/sr", "wechat-qr/sr"),
    ],
)
def test_maps(golden: str, model: str, weights: str) -> None:
    got, expected = answers(golden, f"{model}.prototxt", f"{weights}.caffemodel")
    for name, values in expected.items():
        np.testing.assert_allclose(got[name], values, rtol=1e-3, atol=1e-3 * np.abs(values).mean(), err_msg=name)


SSD = """
layer { name: "in" type: "Input" top: "image" top: "map" top: "objects"
        input_param { shape { dim: [2, 3, 32, 32] } shape { dim: [2, 4, 3, 3] } shape { dim: [1, 1, 3, 8] } } }
layer { name: "location" type: "Convolution" bottom: "map" top: "location"
        convolution_param { num_output: 8 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "locations" type: "Permute" bottom: "location" top: "locations" permute_param { order: [0, 2, 3, 1] } }
layer { name: "flat_locations" type: "Flatten" bottom: "locations" top: "flat_locations" }
layer { name: "score" type: "Convolution" bottom: "map" top: "score"
        convolution_param { num_output: 6 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "scores" type: "Permute" bottom: "score" top: "scores" permute_param { order: [0, 2, 3, 1] } }
layer { name: "flat_scores" type: "Flatten" bottom: "scores" top: "flat_scores" }
layer { name: "priors" type: "PriorBox" bottom: "map" bottom: "image" top: "priors"
        prior_box_param { min_size: 10 max_size: 20 variance: [0.1, 0.1, 0.2, 0.2] } }
layer { name: "loss" type: "MultiBoxLoss" bottom: "flat_locations" bottom: "flat_scores" bottom: "priors"
        bottom: "objects" top: "loss" multibox_loss_param { num_classes: 3 code_type: CENTER_SIZE } }
layer { name: "found" type: "DetectionOutput" bottom: "flat_locations" bottom: "flat_scores" bottom: "priors"
        top: "found" detection_output_param { num_classes: 3 code_type: CENTER_SIZE confidence_threshold: 0.3 } }
layer { name: "worth" type: "DetectionEvaluate" bottom: "found" bottom: "objects" top: "worth"
        detection_evaluate_param { num_classes: 3 } }
"""


def test_host_layers_in_gpu_mode_do_as_on_the_cpu() -> None:
    rng = np.random.default_rng(3)
    objects = np.zeros((1, 1, 3, 8), np.float32)
    objects[0, 0, :, :7] = [[0, 1, 0, 0.1, 0.1, 0.4, 0.5], [0, 2, 0, 0.5, 0.4, 0.9, 0.8], [1, 1, 0, 0.3, 0.3, 0.7, 0.6]]
    maps = [rng.normal(0, size, (2, 4, 3, 3)).astype(np.float32) for size in (1, 3, 0.1)]
    seen: list[list[np.ndarray]] = []
    for mode in ("cpu", "gpu-ascending"):
        with running(mode):
            net = make(SSD)
            if seen:
                for blob, values in zip((b for blobs in net.params.values() for b in blobs), seen[0], strict=True):
                    blob.data[...] = values
            else:
                seen.append([blob.data.copy() for blobs in net.params.values() for blob in blobs])
            of_mode = []
            for values in maps:
                found = net.forward(image=np.zeros((2, 3, 32, 32)), map=values, objects=objects)
                diff = net.gradient({"loss": 1}, "map")["map"]
                of_mode += [found["loss"].copy(), found["worth"].copy(), net.blobs["found"].data.copy()]
                of_mode.append(diff if isinstance(diff, np.ndarray) else downloaded(diff))
            seen.append(of_mode)
    assert len({array.shape for array in seen[1][2::4]}) > 1  # the number of detections changes
    for on_cpu, on_gpu in zip(seen[1], seen[2], strict=True):
        np.testing.assert_allclose(on_gpu, on_cpu, 1e-4, 1e-5)
