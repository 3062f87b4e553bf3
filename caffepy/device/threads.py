"""How many threads a pass on the CPU may use."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from caffepy.errors import ArgumentError

_asked: int | None = None
_forked = False


def set_threads(number: int | None) -> None:
    """Let passes on the CPU use so many threads at most; None for as many as there are cores for this process.

    Small work stays on one thread. Beside busy neighbours, passes without weights' gradients use fewer, until more pay
    again (`device.governor`); those with them, whose sums depend on the number, always use as many.
    On NumPy's road the number decides how some products are rounded, in gradients above all: last digits may then
    differ from run to run; with 1 they never do. A net that has run backward to weights keeps its number there.

    Raises ArgumentError unless it is at least 1.
    """
    global _asked
    if number is not None and (not isinstance(number, int) or number < 1):
        raise ArgumentError(f"set_threads: there must be at least 1 thread, got {number!r}")
    _asked = number


@contextmanager
def using_threads(number: int | None) -> Iterator[None]:
    """`set_threads` in a block, and what held before afterwards."""
    global _asked
    before = _asked
    set_threads(number)
    try:
        yield
    finally:
        _asked = before


def after_fork() -> None:
    """In a child process there is one: its OpenMP runtime would wait for the others of its parent for ever."""
    global _forked
    _forked = True


def threads() -> int:
    """How many there are."""
    return 1 if _forked else _asked or _of_environment() or cores()


def cores() -> int:
    """Cores that this process may use: by its affinity, and by the quota of its control group."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota()
    return found if quota is None else max(1, min(found, quota))


@cache
def _of_environment() -> int | None:
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return int(first) if first.isdigit() and int(first) > 0 else None


@cache
def _quota() -> int | None:
    """Whole cores of the control group's quota, of version 2 or 1; None without one."""
    try:
        limit, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return None if limit == "max" else -(-int(limit) // int(period))
    except (OSError, ValueError):
        pass
    try:
        folder = Path("/sys/fs/cgroup/cpu")
        limit = (folder / "cpu.cfs_quota_us").read_text(encoding="ascii")
        period = (folder / "cpu.cfs_period_us").read_text(encoding="ascii")
        return None if int(limit) < 0 else -(-int(limit) // int(period))
    except (OSError, ValueError):
        return None
