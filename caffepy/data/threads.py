"""Work on many items on all cores."""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def cores() -> int:
    """How many cores the process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_pool: ThreadPoolExecutor | None = None


def _helpers() -> ThreadPoolExecutor:
    """The threads beside those that ask for work to be done: all cores in all."""
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(max(1, cores() - 1), "caffepy-data")
    return _pool


def _forget_pool() -> None:
    global _pool
    _pool = None  # threads do not survive a fork


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def side_by_side(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """[function(item) for item in items], on as many threads as there are cores, this one among them, in its context.

    Raises what the first item that fails raises; of those behind it some are then not done.
    """
    results: list[R | None] = [None] * len(items)
    errors: dict[int, BaseException] = {}
    indices, lock = iter(range(len(items))), threading.Lock()

    def work() -> None:
        while not errors:  # all items before a failed one have been taken
            with lock:
                index = next(indices, None)
            if index is None:
                return
            try:
                results[index] = function(items[index])
            except BaseException as error:
                errors[index] = error

    helpers = [_helpers().submit(copy_context().run, work) for _ in range(min(cores(), len(items)) - 1)]
    work()
    for helper in helpers:
        if not helper.cancel():
            helper.result()
    if errors:
        raise errors[min(errors)]
    return results  # type: ignore[return-value]
