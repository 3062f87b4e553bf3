"""How many threads passes on NumPy let its products use."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from caffepy.cpu import passes as cpu_passes
from caffepy.device import blas
from caffepy.device.threads import set_threads
from caffepy.proto.caffe_pb2 import TEST, TRAIN
from tests.cpu.roads import build, passes, road
from tests.cpu.test_state import NET, SHAPE
from tests.cpu.test_threads import Chooses


@pytest.fixture
def governor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Chooses]:
    found = Chooses()
    monkeypatch.setattr(cpu_passes, "GOVERNOR", found)
    set_threads(2)
    try:
        with road("numpy"):
            yield found
    finally:
        set_threads(None)


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
    net = build(NET, SHAPE)
    net.forward()
    assert not governor.heard
    for _ in range(3):
        net.forward()
    assert len(governor.heard) == 3
    for threads, best, wall, cpu in governor.heard:
        assert threads == 2
        assert 0 < best <= wall
        assert cpu >= 0


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
