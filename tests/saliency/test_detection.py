"""A box of an SSD as target."""

import numpy as np
import pytest

from caffepy import saliency
from caffepy.errors import ArgumentError
from caffepy.saliency import Box
from tests.nets import make, noise

SSD = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 12 dim: 12 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 4 kernel_size: 3
        stride: 3 weight_filler { type: "gaussian" std: 0.3 } } }
layer { name: "prior" type: "PriorBox" bottom: "conv" bottom: "data" top: "prior" prior_box_param { min_size: 4
        variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2 } }
layer { name: "loc" type: "Convolution" bottom: "conv" top: "loc" convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "loc_perm" type: "Permute" bottom: "loc" top: "loc_perm"
        permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: "loc_flat" type: "Flatten" bottom: "loc_perm" top: "loc_flat" }
layer { name: "conf" type: "Convolution" bottom: "conv" top: "conf" convolution_param { num_output: 3 kernel_size: 1
        weight_filler { type: "gaussian" std: 1 } } }
layer { name: "conf_perm" type: "Permute" bottom: "conf" top: "conf_perm"
        permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: "conf_flat" type: "Flatten" bottom: "conf_perm" top: "conf_flat" }
layer { name: "conf_reshape" type: "Reshape" bottom: "conf_flat" top: "conf_reshape"
        reshape_param { shape { dim: 0 dim: -1 dim: 3 } } }
layer { name: "conf_softmax" type: "Softmax" bottom: "conf_reshape" top: "conf_softmax" softmax_param { axis: 2 } }
layer { name: "conf_out" type: "Flatten" bottom: "conf_softmax" top: "conf_out" }
layer { name: "out" type: "DetectionOutput" bottom: "loc_flat" bottom: "conf_out" bottom: "prior" top: "out"
        detection_output_param { num_classes: 3 background_label_id: 0 nms_param { nms_threshold: 0.3 top_k: 100 }
        code_type: CENTER_SIZE keep_top_k: 20 confidence_threshold: 0.01 } }
"""


def test_the_score_of_a_box_is_its_priors() -> None:
    net, image = make(SSD), noise(1, 3, 12, 12)
    net.forward(data=image)
    rows = net.blobs["out"].data.reshape(-1, 7).copy()
    probabilities = net.blobs["conf_softmax"].data[0].copy()
    scores = net.blobs["conf_reshape"].data[0].copy()
    for row in (0, len(rows) - 1):
        found = saliency.gradient(net, image, Box(row))
        label = int(rows[row, 1])
        prior = int(np.flatnonzero(probabilities[:, label] == rows[row, 2])[0])
        assert found.score[0] == pytest.approx(scores[prior, label], rel=1e-5)
        y, x = divmod(prior, 4)
        seen = np.zeros((12, 12), bool)
        seen[3 * y : 3 * y + 3, 3 * x : 3 * x + 3] = True
        assert (found.maps()[0][~seen] == 0).all()
        assert found.maps()[0].any()


def test_boxes_that_are_not_there() -> None:
    with pytest.raises(ArgumentError, match="detection 99 of"):
        saliency.gradient(make(SSD), noise(1, 3, 12, 12), Box(99))
