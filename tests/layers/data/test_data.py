"""DummyData and MemoryData, through nets: what a pass writes, and what it leaves to the caller."""

import logging

import numpy as np
import pytest

import caffepy as caffe
from caffepy.errors import LayerError
from tests.gpu_mode import running
from tests.layers.runner import build
from tests.nets import make

MODES = pytest.mark.parametrize("mode", ["cpu", "gpu-ascending"])


def dummy(param, tops=1):
    names = " ".join(f'top: "t{i}"' for i in range(tops))
    return make(
        f'layer {{ name: "d" type: "DummyData" {names} dummy_data_param {{ {param} }} }} '
        'layer { name: "twice" type: "Power" bottom: "t0" top: "y" power_param { scale: 2 } }'
    )


@MODES
def test_constants_are_written_once_and_others_drawn_anew(mode):
    with running(mode):
        net = dummy('shape { dim: 50 } data_filler { value: 3 } data_filler { type: "gaussian" }', tops=2)
        assert (net.forward()["y"] == 6).all()
        first = net.blobs["t1"].data.copy()
        assert first.std() > 0.5
        net.blobs["t0"].data[...] = 5
        assert (net.forward()["y"] == 10).all()
        assert not np.array_equal(net.blobs["t1"].data, first)
        caffe.set_random_seed(1)
        net.forward()
        first = net.blobs["t1"].data.copy()
        caffe.set_random_seed(1)
        net.forward()
        np.testing.assert_array_equal(net.blobs["t1"].data, first)


@MODES
@pytest.mark.parametrize("value", [0, 3])
def test_what_the_caller_writes_before_the_first_pass_stays(value, mode):
    with running(mode):
        net = dummy(f"shape {{ dim: 4 }} data_filler {{ value: {value} }}")
        net.blobs["t0"].data[...] = range(4)
        assert net.forward()["y"].tolist() == [0, 2, 4, 6]


@pytest.mark.parametrize(
    ("param", "tops", "shapes"),
    [
        ("shape { dim: 2 dim: 3 }", 2, [(2, 3), (2, 3)]),
        ("shape { dim: 2 } shape { dim: 1 dim: 4 }", 2, [(2,), (1, 4)]),
        ("num: 2 channels: 3 height: 4 width: 5", 1, [(2, 3, 4, 5)]),
        (
            "num: 2 channels: 3 height: 4 width: 5 num: 6 channels: 1 height: 1 width: 1",
            2,
            [(2, 3, 4, 5), (6, 1, 1, 1)],
        ),
    ],
)
def test_shapes(param, tops, shapes):
    net = dummy(param, tops)
    assert [net.blobs[f"t{i}"].shape for i in range(tops)] == shapes
    assert (net.forward()["y"] == 0).all()


@pytest.mark.parametrize(
    ("param", "message"),
    [
        ("", "give num, channels, height and width for all 1 tops or for each"),
        (
            "shape { dim: 1 } num: 1 channels: 1 height: 1 width: 1",
            "give shape, or num, channels, height and width; not",
        ),
        ("num: 1 channels: 1 height: 1", r"for all 1 tops or for each, got \[\[1\], \[1\], \[1\], \[\]\]"),
        ("shape { dim: 1 } shape { dim: 1 }", "2 shapes for 1 tops"),
        ("shape { dim: -1 }", r"shapes \[\(-1,\)\]: every extent must be at least 1"),
        ("shape { dim: 1 } data_filler { } data_filler { }", "2 data_filler for 1 tops; give none, one for all"),
        ("shape { dim: 1 } data_filler { type: 'nonesuch' }", "unknown filler type 'nonesuch'"),
    ],
)
def test_dummy_messages(param, message):
    with pytest.raises(LayerError, match=message):
        build(f'type: "DummyData" dummy_data_param {{ {param} }}', [])


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
