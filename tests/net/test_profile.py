"""What layers cost: counted from the definition, measured without a trace left."""

import json

import numpy as np
import pytest

import caffepy as caffe
from tests.gpu_mode import REAL, running
from tests.nets import CHAIN, make, noise


def test_work_is_counted_as_by_hand() -> None:
    profile = make(CHAIN).profile(dry=True)
    by_name = {layer.name: layer for layer in profile.layers}
    conv, fc = by_name["conv1"], by_name["fc"]
    positions, weights = 2 * 6 * 6, 4 * 3 * 3 * 3  # of both images; biases do not count
    assert conv.forward.flops == conv.backward.flops == 2 * positions * weights
    assert conv.forward.bytes == 4 * (2 * 3 * 8 * 8 + weights + positions * 4)
    assert fc.forward.flops == 2 * 2 * 5 * (4 * 3 * 3)
    assert by_name["relu1"].forward.bytes == 4 * 2 * positions * 4
    assert by_name["relu1"].backward.bytes == 4 * 3 * positions * 4
    assert by_name["data"].forward.launches == 0
    assert by_name["pool1"].forward.launches == 1
    assert profile.forward.flops == sum(layer.forward.flops for layer in profile.layers)


def test_backward_goes_on_to_what_the_input_held_before_layers_in_place() -> None:
    shift = 'layer { name: "shift" type: "Power" bottom: "data" top: "data" power_param { shift: -1 } }'
    text = CHAIN.replace('layer { name: "conv1"', shift + 'layer { name: "conv1"')
    by_name = {layer.name: layer for layer in make(text).profile(dry=True).layers}
    assert by_name["shift"].backward is not None


def test_a_dry_profile_measures_nothing_and_names_a_floor() -> None:
    profile = make(CHAIN).profile(dry=True)
    assert profile.forward.ms is None
    assert profile.forward.floor(profile.ceilings) == pytest.approx(1e3 * profile.forward.bytes / 4.3e12, rel=0.05)
    text = str(profile)
    assert "nothing was measured" in text
    assert "NVIDIA H200, 67000 GFLOP/s and 4300 GB/s" in text
    assert "MFLOP" in text
    assert "GB/s " not in text
    assert json.loads(json.dumps(profile.as_dict()))["layers"][1]["name"] == "conv1"


@pytest.mark.parametrize("mode", ["cpu", "gpu-ascending", REAL])
@pytest.mark.parametrize("dry", [False, True])
def test_the_net_is_as_after_a_forward_pass(mode: str, dry: bool) -> None:
    text = CHAIN + 'layer { name: "twice" type: "Power" bottom: "fc" top: "fc" power_param { scale: 2 } }'
    with running(mode):
        net = make("force_backward: true " + text)
        out = net.forward(data=noise(2, 3, 8, 8))["fc"].copy()
        net.blobs["fc"].diff[...] = 7
        profile = net.profile(3, dry=dry)
        np.testing.assert_array_equal(net.blobs["fc"].data, out)
        np.testing.assert_array_equal(net.blobs["fc"].diff, 7)
        np.testing.assert_array_equal(net.params["conv1"][0].diff, 0)
        assert (profile.forward.ms is None) == dry
        assert all(layer.backward is not None for layer in profile.layers[1:])
        assert dry or "share" in str(profile) or mode == "cpu"


def test_running_statistics_go_on_by_two_passes_only() -> None:
    """The one before measuring and the one after it."""

    def statistics(passes: int, profile: bool) -> list[np.ndarray]:
        net = make(
            'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 3 } } }'
            'layer { name: "bn" type: "BatchNorm" bottom: "x" top: "y" }',
            phase=caffe.TRAIN,
        )
        net.blobs["x"].data[...] = noise(4, 3)
        for _ in range(passes):
            net.forward()
        if profile:
            net.profile(5)
        return [blob.data.copy() for blob in net.params["bn"]]

    for found, expected in zip(statistics(1, True), statistics(3, False), strict=True):
        np.testing.assert_array_equal(found, expected)
