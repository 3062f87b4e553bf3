"""`with net.rules(...)`: which layers obey, when, and what forward keeps for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import caffepy as caffe
from caffepy.errors import GraphError, StateError
from caffepy.graph import Wiring
from caffepy.layer import Layer
from caffepy.layers.utility.eltwise import eltwise_prod_forward
from caffepy.net.rules import Rule, Step
from tests.nets import FORCED, make, noise


@dataclass(frozen=True)
class TimesBottom(Rule):
    """bottom_diff = top_diff * bottom, of which forward keeps a copy in place."""

    keep: bool = True

    def keeps(self, layer: Layer) -> bool:
        return self.keep and layer.runs_in_place

    def reads_of(self, layer: Layer) -> Any:
        return () if self.keeps(layer) else ("bottom",)

    def backward(self, step: Step) -> None:
        data = step.bottom[0].data
        if self.keeps(step.layer):
            data = step.memory.kept(step.index).array(data.size).reshape(data.shape)
        eltwise_prod_forward(step.top[0].diff, data, step.bottom[0].diff)


@dataclass(frozen=True)
class Set:
    keep: bool = True

    def choose(self, layers: Sequence[Layer], wiring: Wiring) -> Mapping[int, Rule]:
        return {i: TimesBottom(self.keep) for i, layer in enumerate(layers) if layer.type == "ReLU"}


def parts(net: caffe.Net, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """conv1 before its ReLU in place, and the gradient behind the ReLU."""
    net.forward(data=image)
    behind = net.gradient({"fc": 1}, [("conv1", "relu1")])[("conv1", "relu1")]
    net.forward(data=image, end="conv1")
    return net.blobs["conv1"].data.copy(), behind


def check(net: caffe.Net, image: np.ndarray, conv1: np.ndarray, behind: np.ndarray) -> None:
    with net.rules(Set()):
        net.forward(data=image)
        found = net.gradient({"fc": np.float32(1)}, ["conv1"])["conv1"]
        back = net.backward(fc=np.ones((2, 5)))
        assert back["data"].any()
        np.testing.assert_allclose(net.blobs["conv1"].diff, behind * conv1, rtol=1e-4, atol=1e-5)
    host = np.empty(behind.shape, np.float32)
    if isinstance(found, np.ndarray):
        host[...] = found
    else:
        caffe.device.current().download(found, host)
    np.testing.assert_allclose(host, behind * conv1, rtol=1e-4, atol=1e-5)


def test_a_rule_in_place_gets_the_bottom_that_forward_kept() -> None:
    net, image = make(FORCED), noise(2, 3, 8, 8)
    check(net, image, *parts(net, image))


def test_captured_and_replayed_for_each_set_of_rules(gpu: Any) -> None:
    net, image = make(FORCED), noise(2, 3, 8, 8)
    caffe.set_mode_cpu()
    right = parts(net, image)
    caffe.set_mode_gpu()
    for _ in range(3):
        check(net, image, *right)
        net.forward(data=image)
        host = np.empty(right[1].shape, np.float32)
        gpu.download(net.gradient({"fc": np.float32(1)}, [("conv1", "relu1")])[("conv1", "relu1")], host)
        np.testing.assert_allclose(host, right[1], rtol=1e-4, atol=1e-5)


def test_forward_must_have_kept_it() -> None:
    net, image = make(FORCED), noise(2, 3, 8, 8)
    net.forward(data=image)
    with net.rules(Set()), pytest.raises(StateError, match="run forward, too, inside"):
        net.gradient({"fc": 1}, "data")


def test_a_rule_that_reads_what_is_gone_is_refused() -> None:
    net, image = make(FORCED), noise(2, 3, 8, 8)
    with net.rules(Set(keep=False)):
        net.forward(data=image)
        with pytest.raises(GraphError, match="wrote over in place"):
            net.gradient({"fc": 1}, "data")
    net.forward(data=image)
    assert net.gradient({"fc": 1}, "data")["data"].any()
