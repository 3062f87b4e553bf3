"""How many threads passes on NumPy let its products use."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from caffepy.device import blas
from caffepy.proto.caffe_pb2 import TEST, TRAIN
from tests.cpu.governed import Chooses, assert_hears_of_settled_passes, governed
from tests.cpu.roads import build, passes
from tests.cpu.test_state import NET, SHAPE


@pytest.fixture
def governor() -> Iterator[Chooses]:
    with governed("numpy") as found:
        yield found


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """With how many threads passes ran."""
    found: list[int] = []

    @contextmanager
    def using_threads(number: int) -> Iterator[None]:
        found.append(number)
        yield

    monkeypatch.setattr(blas, "using_threads", using_threads)
    return found


def test_passes_follow_the_governor(governor: Chooses, used: list[int]) -> None:
    net = build(NET, SHAPE)
    for governor.chosen in (2, 1, 2):
        net.forward()
        net.gradient({"prob": 1}, "data")
    assert used == [2, 2, 1, 1, 2, 2]


def test_the_governor_hears_of_settled_passes_only(governor: Chooses, used: list[int]) -> None:
    assert_hears_of_settled_passes(governor, build(NET, SHAPE))


@pytest.mark.parametrize("phase", [TEST, TRAIN])
def test_a_net_that_trains_keeps_its_number(governor: Chooses, used: list[int], phase: int) -> None:
    net = build(NET, SHAPE, phase)
    passes(net)
    governor.chosen = 1
    del used[:]
    passes(net)
    assert set(used) == {2}


def test_results_do_not_depend_on_what_was_chosen_before(governor: Chooses) -> None:
    net = build(NET, SHAPE)
    first = net.forward()["prob"].copy()
    for governor.chosen in (1, 2):
        assert (net.forward()["prob"] == first).all()
