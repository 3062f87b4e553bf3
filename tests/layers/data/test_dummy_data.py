"""DummyData, through nets: what a pass writes, and what it leaves to the caller."""

import numpy as np
import pytest

import caffepy as caffe
from caffepy.errors import LayerError
from tests.gpu_mode import REAL, running
from tests.layers.runner import build
from tests.nets import make

MODES = pytest.mark.parametrize("mode", ["cpu", "gpu-ascending", REAL])


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
