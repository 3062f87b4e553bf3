"""How many threads are chosen, from numbers: a machine made up here, nothing is measured."""

import pytest

from caffepy.device.governor import Governor

BUSY = 4
"""Neighbours that never rest."""


class Machine:
    """Processors, and passes on them: with neighbours, threads wait for one another longer than they save."""

    def __init__(self, cores: int, wait: float = 3.0) -> None:
        self.cores, self.wait = cores, wait
        self.neighbours = 0
        self.governor = Governor()
        self.best: dict[float, float] = {}

    def took(self, work: float, threads: int) -> float:
        """Seconds of a pass of so much work."""
        share = min(1.0, self.cores / (threads + self.neighbours))
        waiting = self.wait if self.neighbours and threads > 1 else 1.0
        return work / threads / share * waiting

    def run(self, passes: int, works: tuple[float, ...] = (0.04, 0.1)) -> tuple[float, list[int]]:
        """The seconds of so many passes, and how many threads each used."""
        total, chosen = 0.0, []
        for i in range(passes):
            work = works[i % len(works)]
            threads = self.governor.threads(self.cores)
            wall = self.took(work, threads)
            self.best[work] = min(wall, self.best.get(work, wall))
            cpu = threads * wall * min(1.0, self.cores / (threads + self.neighbours))
            self.governor.passed(threads, self.best[work], wall, cpu)
            total += wall
            chosen.append(threads)
        return total, chosen

    def at(self, threads: int, passes: int, works: tuple[float, ...] = (0.04, 0.1)) -> float:
        """The seconds of so many passes that all use so many threads."""
        return sum(self.took(works[i % len(works)], threads) for i in range(passes))


@pytest.mark.parametrize("cores", [2, 3, 16])
def test_a_quiet_machine_uses_all_it_has(cores: int) -> None:
    machine = Machine(cores)
    assert machine.run(500)[1] == [cores] * 500


def test_one_core_stays_one() -> None:
    machine = Machine(1)
    machine.neighbours = BUSY
    assert machine.run(100)[1] == [1] * 100


def test_beside_busy_neighbours_it_soon_uses_one_thread_and_little_time_for_trials() -> None:
    machine = Machine(2)
    machine.run(100)
    machine.neighbours = BUSY
    _, chosen = machine.run(20)
    assert 1 in chosen
    total, chosen = machine.run(400)
    assert chosen.count(1) > 370
    assert total < 1.05 * machine.at(1, 400) < 0.6 * machine.at(2, 400)


def test_neighbours_that_were_there_from_the_start_are_noticed_too() -> None:
    machine = Machine(2)
    machine.neighbours = BUSY
    assert machine.run(40)[1][-1] == 1


def test_when_they_go_more_threads_pay_again() -> None:
    machine = Machine(2)
    machine.neighbours = BUSY
    machine.run(1000)
    machine.neighbours = 0
    _, chosen = machine.run(600)
    assert chosen[-200:] == [2] * 200


def test_neighbours_that_come_for_a_moment_are_soon_forgotten() -> None:
    machine = Machine(2)
    machine.run(100)
    machine.neighbours = BUSY
    chosen: list[int] = []
    while 1 not in chosen:
        chosen += machine.run(1)[1]
    machine.neighbours = 0
    assert machine.run(60)[1].count(1) <= 16


def test_many_cores_are_given_up_by_halves_and_only_as_far_as_it_pays() -> None:
    class Half(Machine):
        """Eight of sixteen cores are somebody else's; those who wait for them wait long."""

        def took(self, work: float, threads: int) -> float:
            free = self.cores - self.neighbours
            return work / threads * (5.0 if threads > free else 1.0)

    machine = Half(16)
    machine.run(100)
    machine.neighbours = 8
    machine.run(200)
    total, chosen = machine.run(400)
    assert chosen.count(8) > 350
    assert total < 1.15 * machine.at(8, 400)


def test_passes_that_need_no_second_thread_but_are_not_slower_with_it_keep_it() -> None:
    """A share below IDLE with nobody beside: the trials fail, and are rare."""

    class Alone(Machine):
        def took(self, work: float, threads: int) -> float:
            return work * (1.0 if threads > 1 else 1.02)

    machine, chosen = Alone(2), []
    for _ in range(4000):
        threads = machine.governor.threads(2)
        wall = machine.took(0.05, threads)
        machine.governor.passed(threads, 0.05, wall, wall)
        chosen.append(threads)
    assert chosen.count(1) < 500


def test_another_number_starts_anew() -> None:
    machine = Machine(2)
    machine.neighbours = BUSY
    assert 1 in machine.run(100)[1]
    assert machine.governor.threads(4) == 4
    assert machine.governor.threads(2) == 2


def test_a_pass_of_a_number_given_up_meanwhile_does_not_count() -> None:
    machine = Machine(2)
    machine.neighbours = BUSY
    machine.run(100)
    while machine.governor.threads(2) == 2:
        machine.run(1)
    for _ in range(100):
        machine.governor.passed(2, 1.0, 1.0, 2.0)
    assert machine.governor.threads(2) == 1
