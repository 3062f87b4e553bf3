"""How many threads captured passes are made for, and what is kept when the number changes."""

from collections.abc import Iterator

import numpy as np
import pytest

import caffepy
from caffepy.proto.caffe_pb2 import TRAIN
from tests.cpu.governed import Chooses, assert_hears_of_settled_passes, governed
from tests.cpu.roads import assert_alike, build, needs_onednn, passes, road
from tests.cpu.test_state import NET, SHAPE

pytestmark = needs_onednn


@pytest.fixture
def governor() -> Iterator[Chooses]:
    with governed("onednn") as found:
        yield found


def once(net: caffepy.Net) -> tuple[dict[str, np.ndarray], list[object]]:
    """What forward and a gradient give, and the passes captured then."""
    net.forward()
    gradient = net.gradient({"prob": np.eye(2, 6)}, "data")["data"].copy()
    return {"prob": net.blobs["prob"].data.copy(), "gradient": gradient}, list(net.execution.replay.on_cpu.captured())


def test_passes_follow_the_governor_and_are_captured_once_for_each_number(governor: Chooses) -> None:
    net = build(NET, SHAPE)
    once(net)
    first, with_two = once(net)
    governor.chosen = 1
    once(net)
    second, with_both = once(net)
    assert {captured.threads for captured in with_two} == {2}
    assert {captured.threads for captured in with_both} == {1, 2}
    for chosen in (2, 1, 2, 1):
        governor.chosen = chosen
        found, captured = once(net)
        assert set(captured) == set(with_both)
        for name, values in found.items():
            np.testing.assert_array_equal(values, first[name])
            np.testing.assert_array_equal(second[name], first[name])


def test_the_governor_hears_of_settled_passes_only(governor: Chooses) -> None:
    assert_hears_of_settled_passes(governor, build(NET, SHAPE))


def test_passes_with_weights_gradients_keep_their_number(governor: Chooses) -> None:
    governor.chosen = 1
    net = build(NET, SHAPE, TRAIN)
    for _ in range(2):
        found = passes(net)
    numbers = {captured.threads for captured in net.execution.replay.on_cpu.captured("backward")}
    assert numbers == {2}
    assert {captured.threads for captured in net.execution.replay.on_cpu.captured("forward")} == {1}
    with road("numpy"):
        other = build(NET, SHAPE, TRAIN)
        for _ in range(2):
            expected = passes(other)
    del expected["conv weight 1 diff"]  # 0 but for rounding: normalization takes every bias away
    assert_alike(found, expected, 1e-4)
