"""A governor of the CPU's threads that is told what to choose."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import caffepy
from caffepy.cpu import passes as cpu_passes
from caffepy.device.threads import set_threads
from tests.cpu.roads import road


class Chooses:
    """A governor that is told what to choose, and remembers what it heard."""

    def __init__(self) -> None:
        self.chosen = 2
        self.heard: list[tuple[int, float, float, float]] = []

    def threads(self, most: int) -> int:
        return min(most, self.chosen)

    def passed(self, threads: int, best: float, wall: float, cpu: float) -> None:
        self.heard.append((threads, best, wall, cpu))


@contextmanager
def governed(name: str) -> Iterator[Chooses]:
    """On that road, with two threads, of which it chooses."""
    found = Chooses()
    set_threads(2)
    try:
        with pytest.MonkeyPatch.context() as patch, road(name):
            patch.setattr(cpu_passes, "GOVERNOR", found)
            yield found
    finally:
        set_threads(None)


def assert_hears_of_settled_passes(governor: Chooses, net: caffepy.Net) -> None:
    """And of nothing else: the first pass is captured, or tells whether the net trains."""
    net.forward()
    assert not governor.heard
    for _ in range(3):
        net.forward()
    assert len(governor.heard) == 3
    for threads, best, wall, cpu in governor.heard:
        assert threads == 2
        assert 0 < best <= wall
        assert cpu >= 0
