"""The engine that needs nothing: a process for each worker, each a pool of the standard library's with one seat."""

import gc
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_for
from typing import Any

from caffepy.batch.job import Done, Job, Shards
from caffepy.batch.manifest import Manifest
from caffepy.batch.sources import Part
from caffepy.batch.worker import Worker
from caffepy.device.threads import set_threads
from caffepy.errors import StateError

DEATHS = 6
"""How often a worker may end at the same shard."""


@dataclass(frozen=True)
class Context:
    """What a worker is started with."""

    job: Job
    manifest: Manifest
    prepared: Worker | None
    """A worker of the job's that a forked process takes over, its weights shared with the parent's until written."""
    stop: Any
    """Memory in common, without a lock, which a process that is killed would keep: not 0 when the run is to end."""
    pictures: Any
    """Likewise: how many pictures of its shard this worker has done."""


def forks() -> bool:
    """Whether processes are forked here, so that they share the weights: on Linux."""
    return sys.platform == "linux"


def run(
    jobs: Sequence[Job], manifest: Manifest, shards: Shards, prepared: Worker | None, *, poll: float = 0.5
) -> Iterator[list[Done]]:
    """Do the shards, a process for each job; gives what was finished, at least every `poll` seconds.

    A worker that ends before its shard is replaced, and the shard done again. Raises what a worker raises, the others
    having stopped at their next batch; StateError where workers end at the same shard again and again.
    """
    fork = prepared is not None
    context = multiprocessing.get_context("fork" if fork else "spawn")
    stop, waiting, deaths = context.RawValue("b", 0), deque(shards.waiting.items()), Counter[int]()
    with ExitStack() as stack:
        if prepared is not None:
            prepared.before_fork()
        stack.enter_context(_frozen(fork))
        seats = [_Seat(context, Context(job, manifest, prepared, stop, context.RawValue("q", 0))) for job in jobs]
        stack.callback(_close, seats, stop)
        running: dict[Future[Done], tuple[_Seat, int, Part]] = {}
        finished_pictures = 0
        while waiting or running:
            busy = [seat for seat, _, _ in running.values()]
            for seat in [seat for seat in seats if seat not in busy][: len(waiting)]:
                number, part = waiting.popleft()
                running[seat.submit(number, part)] = seat, number, part
            finished = []
            for future in wait(running, poll, FIRST_COMPLETED).done:
                seat, number, part = running.pop(future)
                try:
                    finished.append(future.result())
                    finished_pictures += part.count
                except BrokenProcessPool as error:
                    deaths[number] += 1
                    shards.deaths += 1
                    if deaths[number] == DEATHS:
                        raise StateError(_hopeless(number, part)) from error
                    seat.renew()
                    waiting.appendleft((number, part))
            shards.pictures = finished_pictures + sum(seat.pictures for seat, _, _ in running.values())
            yield finished


def _hopeless(number: int, part: Part) -> str:
    last = part.first + part.count - 1
    return (
        f"{DEATHS} workers ended at shard {number}, pictures {part.first} to {last}: killed, perhaps because memory is "
        "out, or by one of the pictures; fewer --workers or a smaller --batch take less memory"
    )


class _Seat:
    """A pool of one process, and another one when that has ended."""

    def __init__(self, context: Any, given: Context) -> None:
        self._context, self._given = context, given
        self._pool = self._new()

    def _new(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, self._context, _begin, (self._given,))

    def submit(self, number: int, part: Part) -> "Future[Done]":
        """Let the process do a shard."""
        self._given.pictures.value = 0
        with warnings.catch_warnings():  # Python warns of forks beside threads: these hold no lock that a child takes
            warnings.simplefilter("ignore", DeprecationWarning)
            return self._pool.submit(_shard, number, part)

    def renew(self) -> None:
        """Take another process."""
        self._pool.shutdown()
        self._pool = self._new()

    @property
    def pictures(self) -> int:
        """How many of its shard are done."""
        return int(self._given.pictures.value)

    def close(self) -> None:
        """Wait until it has ended."""
        self._pool.shutdown(cancel_futures=True)


def _close(seats: Sequence[_Seat], stop: Any) -> None:
    stop.value = 1
    for seat in seats:
        seat.close()


@contextmanager
def _frozen(fork: bool) -> Iterator[None]:
    """Meanwhile, collecting garbage touches nothing of what is there now: pages written to are no longer shared."""
    if not fork:
        yield
        return
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


# ---- in the worker

_given: Context | None = None
_worker: Worker | None = None


def _begin(given: Context) -> None:
    global _given, _worker
    _given, _worker = given, given.prepared
    set_threads(given.job.threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and says when to stop
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait_for([parent.sentinel])
    os._exit(1)


def _shard(number: int, part: Part) -> Done:
    global _worker
    assert _given is not None
    if _worker is None:
        _worker = Worker(_given.job)

    def tell(pictures: int) -> None:
        shown.value += pictures

    shown, stop = _given.pictures, _given.stop
    done = _worker.run(number, part, tell=tell, stopped=lambda: bool(stop.value))
    _given.manifest.record(done)
    return done
