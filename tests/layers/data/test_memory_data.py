"""MemoryData, through nets: which batch a pass has."""

import logging

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.gpu_mode import REAL, running
from tests.layers.runner import build
from tests.nets import make

MODES = pytest.mark.parametrize("mode", ["cpu", "gpu-ascending", REAL])


MEMORY = """
layer { name: "m" type: "MemoryData" top: "data" top: "label"
        memory_data_param { batch_size: 2 channels: 1 height: 1 width: 3 } %s }
layer { name: "twice" type: "Power" bottom: "data" top: "y" power_param { scale: 2 } }
"""


@MODES
def test_batches_follow_one_another_and_start_again(mode):
    images, labels = np.arange(12, dtype=np.float32).reshape(4, 1, 1, 3), np.arange(4, dtype=np.float32)
    with running(mode):
        net = make(MEMORY % "")
        net.layers[0].reset(images, labels.reshape(4, 1, 1, 1))
        for first in (0, 2, 0):
            out = net.forward()
            np.testing.assert_array_equal(out["y"], 2 * images[first : first + 2])
            assert out["label"].reshape(-1).tolist() == [first, first + 1]
        images += 100  # they are the caller's
        assert net.forward()["y"][0, 0, 0, 0] == 212
        net.layers[0].reset(images[:2], labels[2:])
        assert net.forward()["label"].reshape(-1).tolist() == [2, 3]


def test_transforms_are_said_to_be_left_out(caplog):
    net = make(MEMORY % "transform_param { scale: 0.5 }")
    with caplog.at_level(logging.WARNING, "caffepy"):
        net.layers[0].reset(np.zeros((2, 1, 1, 3)), np.zeros(2))
    assert "layer 'm' (MemoryData): transform_param is not applied" in caplog.text


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        ((2, 1, 3, 1), 2, r"data of shape \(2, 1, 3, 1\); give \(n, 1, 1, 3\)"),
        ((2, 3), 2, r"data of shape \(2, 3\); give"),
        ((3, 1, 1, 3), 3, "3 images are no whole number of batches; batch_size is 2"),
        ((0, 1, 1, 3), 0, "0 images are no whole number of batches"),
        ((4, 1, 1, 3), 3, "3 labels for 4 images; give one for each"),
    ],
)
def test_arrays_that_do_not_fit(images, labels, message):
    with pytest.raises(LayerError, match=message):
        make(MEMORY % "").layers[0].reset(np.zeros(images), np.zeros(labels))


def test_without_data_or_sizes():
    with pytest.raises(LayerError, match=r"has no data yet; call net.set_input_arrays\(data, labels\) before forward"):
        make(MEMORY % "").forward()
    with pytest.raises(LayerError, match="batch_size, channels, height and width of at least 1, got 2, 0, 0, 0"):
        build('type: "MemoryData" top: "a" top: "b" memory_data_param { batch_size: 2 }', [])
