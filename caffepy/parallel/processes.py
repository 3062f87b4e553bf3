"""Several processes of this machine that train together: when one ends badly, all do."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from types import FrameType
from typing import Any

from caffepy.errors import StateError


def together(target: Callable[..., object], each: Sequence[tuple[Any, ...]], names: Sequence[str]) -> None:
    """Call target(*arguments) in a process for each, and return when all have ended well.

    Raises StateError, which names the first that did not; the others are ended.
    """
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=target, args=arguments) for arguments in each]
    for process in processes:
        process.start()
    with _handed_on(processes[0]):
        _wait(processes, names)


def _wait(processes: Sequence[Any], names: Sequence[str]) -> None:
    try:
        waiting = {process.sentinel: i for i, process in enumerate(processes)}
        while waiting:
            for sentinel in wait(list(waiting)):
                rank = waiting.pop(sentinel)
                processes[rank].join()
                if code := processes[rank].exitcode:
                    raise StateError(
                        f"rank {rank} of {len(processes)}, on {names[rank]}, {_ending(code)}; all others end, too"
                    )
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
            process.join()


@contextmanager
def _handed_on(process: Any) -> Iterator[None]:
    """Meanwhile, give that process the signals that ask for a snapshot or a stop; it agrees with the others."""

    def hand_on(number: int, frame: FrameType | None) -> None:
        if process.is_alive():
            os.kill(process.pid, number)

    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, hand_on) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ending(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
