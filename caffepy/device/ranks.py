"""Which of the processes that train together this one is (Caffe: Caffe::solver_count, Caffe::solver_rank)."""

from dataclasses import dataclass

from caffepy.errors import ArgumentError


@dataclass
class _Ranks:
    count: int = 1
    rank: int = 0


_ranks = _Ranks()


def solver_count() -> int:
    """How many solvers train in parallel: what `set_solver_count` said, 1 at first."""
    return _ranks.count


def set_solver_count(count: int) -> None:
    """Say how many solvers train in parallel, before nets are built: their Data layers share the records."""
    if count < 1:
        raise ArgumentError(f"set_solver_count: {count!r}; give at least 1")
    _ranks.count = int(count)


def solver_rank() -> int:
    """This process's number among them: what `set_solver_rank` said, 0 at first."""
    return _ranks.rank


def set_solver_rank(rank: int) -> None:
    """Say this process's number among the parallel solvers; number 0 tests, logs and writes snapshots."""
    if rank < 0:
        raise ArgumentError(f"set_solver_rank: {rank!r}; give at least 0")
    _ranks.rank = int(rank)
