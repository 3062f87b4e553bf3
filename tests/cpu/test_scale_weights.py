"""Gradients of the Scales behind BatchNorms: where their values lie in the passes that follow the first."""

import numpy as np
import pytest

import caffepy
from caffepy.cpu.homes import Packed
from tests.cpu.roads import assert_alike, build, captured, needs_onednn, road

pytestmark = needs_onednn

NET = """
layer { name: "a" type: "Convolution" bottom: "data" top: "a" convolution_param { num_output: 32 kernel_size: 3 } }
layer { name: "b" type: "BatchNorm" bottom: "a" top: "a" }
layer { name: "c" type: "Scale" bottom: "a" top: "a" scale_param { bias_term: true } }
layer { name: "d" type: "ReLU" bottom: "a" top: "a" }
layer { name: "e" type: "Convolution" bottom: "a" top: "e"
        convolution_param { num_output: 32 kernel_size: 3 pad: 1 group: 32 } }
layer { name: "f" type: "BatchNorm" bottom: "e" top: "e" }
layer { name: "g" type: "Scale" bottom: "e" top: "e" scale_param { bias_term: true } }
layer { name: "h" type: "ReLU" bottom: "e" top: "e" }
layer { name: "i" type: "Convolution" bottom: "e" top: "i" convolution_param { num_output: 10 kernel_size: 1 } }
"""
BETWEEN = 2, 32, 10, 10
NOISE = np.random.default_rng(5).standard_normal((2, 10, 10, 10)).astype(np.float32)


def made() -> caffepy.Net:
    net = build(NET, (2, 4, 12, 12))
    net.param_diffs.asked = True
    return net


def step(net: caffepy.Net) -> None:
    net.clear_param_diffs()
    net.forward()
    net.blobs["i"].diff[...] = NOISE
    net.backward()


def diffs(net: caffepy.Net) -> dict[str, np.ndarray]:
    found = {f"{layer.name} {i}": blob.diff.copy() for layer in net.layers for i, blob in enumerate(layer.blobs)}
    return found | {"data": net.blobs["data"].diff.copy()}


def test_what_forward_left_out_at_first_stays_packed_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the first backward pass what the Scales keep of their bottoms is on the host, but the diffs are packed."""
    unpacked: list[tuple[int, ...]] = []
    download = Packed.download

    def noted(self: Packed, host: np.ndarray) -> None:
        unpacked.append(self.memory.layout.shape)
        download(self, host)

    with road("onednn"):
        net = made()
        step(net)
        step(net)
        with monkeypatch.context() as patch:
            patch.setattr(Packed, "download", noted)
            step(net)
        found = diffs(net)
        names = captured(net, "backward")
    assert BETWEEN not in unpacked
    before = [names[place - 1] for place, name in enumerate(names) if name == "batch_normalization_backward"]
    assert before == ["scale by deviation"] * 2  # and no reorder after it
    with road("numpy"):
        net = made()
        step(net)
        assert_alike(found, diffs(net))
