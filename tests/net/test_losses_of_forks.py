"""Losses whose work is the host's, and layers around them, in a net: as on the CPU in GPU mode."""

import numpy as np

from tests.gpu_mode import downloaded, running
from tests.nets import make

NET = """
layer { name: "in" type: "Input" top: "map" top: "objects" top: "boxes" top: "mask" top: "places" top: "person"
        top: "other_person" input_param {
          shape { dim: [2, 4, 3, 3] } shape { dim: [2, 10] } shape { dim: [2, 10] } shape { dim: [2, 4, 3, 3] }
          shape { dim: [2, 4] } shape { dim: 2 } shape { dim: 2 } } }
layer { name: "features" type: "Convolution" bottom: "map" top: "features"
        convolution_param { num_output: 7 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "yolo" type: "Yolov3" bottom: "features" bottom: "objects" top: "yolo"
        yolov3_param { num_class: 2 num: 1 biases: [20, 30] mask: 0 anchors_scale: 16 } }
layer { name: "last" type: "Permute" bottom: "features" top: "last" permute_param { order: [0, 2, 3, 1] } }
layer { name: "parts" type: "Slice" bottom: "last" top: "class" top: "confidence" top: "offsets"
        slice_param { axis: 3 slice_point: [2, 3] } }
layer { name: "classes" type: "Softmax" bottom: "class" top: "classes" softmax_param { axis: 3 } }
layer { name: "squeezedet" type: "SqueezeDetLoss" bottom: "classes" bottom: "confidence" bottom: "offsets"
        bottom: "boxes" top: "squeezedet" transform_param { crop_size: 48 } squeezedet_param {
          classes: 2 anchors_per_grid: 1 anchor_shapes: [20, 30] pos_conf: 7 neg_conf: 5 lambda_bbox: 2 } }
layer { name: "seg" type: "YoloSeg" bottom: "map" bottom: "mask" bottom: "places" top: "seg" }
layer { name: "unit" type: "Normalize" bottom: "features" top: "unit" top: "length"
        normalize_param { bp_norm: true } }
layer { name: "again" type: "ChannelScale" bottom: "unit" bottom: "length" top: "again" }
layer { name: "faces" type: "ContrastiveLoss" bottom: "unit" bottom: "again" bottom: "person" bottom: "other_person"
        top: "faces" contrastive_loss_param { margin: 9 } }
"""
LOSSES = ("yolo", "squeezedet", "seg", "faces")


def test_in_gpu_mode_as_on_the_cpu() -> None:
    rng = np.random.default_rng(4)
    given = {
        "objects": [[1, 0.2, 0.6, 0.3, 0.5] + [0] * 5, [0, 0.5, 0.5, 0.9, 0.4, 1, 0.9, 0.1, 0.2, 0.2]],
        "boxes": [[4, 3, 20, 30, 1] + [-1] * 5, [20, 5, 40, 47, 0, 1, 1, 20, 25, 1]],
        "mask": rng.random((2, 4, 3, 3)) < 0.4,
        "places": [[3, 4, 2, 5], [3, 0, 1, 6]],
        "person": [4, 2],
        "other_person": [4, 3],
    }
    maps = [rng.normal(0, size, (2, 4, 3, 3)).astype(np.float32) for size in (1, 2, 0.3)]
    weights, seen = rng.normal(0, 0.5, (7, 4, 1, 1)), []
    for mode in ("cpu", "gpu-ascending"):
        with running(mode):
            net = make(NET)
            net.params["features"][0].data[...] = weights
            of_mode = []
            for values in maps:
                found = net.forward(map=values, **{name: np.array(value) for name, value in given.items()})
                assert set(LOSSES) <= set(found)
                np.testing.assert_allclose(net.blobs["again"].data, net.blobs["features"].data, 1e-4, 1e-5)
                of_mode += [found[loss].copy() for loss in LOSSES]
                for loss in LOSSES:
                    diff = net.gradient({loss: 1}, "map")["map"]
                    of_mode.append(diff if isinstance(diff, np.ndarray) else downloaded(diff))
                    assert of_mode[-1].any()
            seen.append(of_mode)
    for on_cpu, on_gpu in zip(*seen, strict=True):
        np.testing.assert_allclose(on_gpu, on_cpu, 1e-4, 1e-5)
