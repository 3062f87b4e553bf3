"""What stands in for cupy.cuda and its NCCL: processes on this machine that hand their arrays to the first by a socket.

`python -c "import tests.parallel.standin"` with the emulated GPUs of tests/cuda_on_cpu in place; sitecustomize does it.
"""

import ctypes
import os
import tempfile
import uuid
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

import numpy as np

FLOAT, SUM, MAX, AVERAGE = 7, 0, 2, 4
HOW = {
    SUM: lambda all_: np.sum(all_, axis=0),
    MAX: lambda all_: np.max(all_, axis=0),
    AVERAGE: lambda all_: np.mean(all_, axis=0),
}
"""nccl.h's numbers of operations."""


def get_unique_id() -> tuple[int, ...]:
    return tuple(uuid.uuid4().bytes)


def get_version() -> int:
    return 22000


_pending: list[tuple["NcclCommunicator", tuple[Any, ...]]] = []


def groupStart() -> None:
    assert not _pending


def groupEnd() -> None:
    while _pending:
        communicator, call = _pending.pop(0)
        communicator.do(*call)


class NcclCommunicator:
    def __init__(self, size: int, uid: tuple[int, ...], rank: int) -> None:
        self.rank, self.size = rank, size
        address = os.path.join(tempfile.gettempdir(), f"nccl-{bytes(uid).hex()}")
        self.others: list[Connection] = []
        if rank == 0:
            with Listener(address, "AF_UNIX") as listener:
                self.others = [listener.accept() for _ in range(size - 1)]
            return
        while not self.others:
            try:
                self.others = [Client(address, "AF_UNIX")]
            except (FileNotFoundError, ConnectionRefusedError):
                continue

    def allReduce(self, send: int, receive: int, count: int, kind: int, how: int, stream: int) -> None:
        assert (send, kind, stream) == (receive, FLOAT, 1)
        _pending.append((self, (send, count, how)))

    def bcast(self, at: int, count: int, kind: int, root: int, stream: int) -> None:
        assert (kind, root, stream) == (FLOAT, 0, 1)
        _pending.append((self, (at, count, None)))

    def do(self, at: int, count: int, how: int | None) -> None:
        here = np.frombuffer((ctypes.c_float * count).from_address(at), np.float32)
        if self.rank:
            self.others[0].send((how, here.copy()))
            here[:] = self.others[0].recv()
            return
        given = [other.recv() for other in self.others]
        assert {(asked, len(array)) for asked, array in given} == {(how, count)}, "ranks ask for different things"
        here[:] = here if how is None else HOW[how](np.stack([here, *(array for _, array in given)]))
        for other in self.others:
            other.send(here.copy())


class Stream:
    ptr = 1

    def __init__(self, non_blocking: bool = False) -> None:
        assert non_blocking

    def wait_event(self, event: "Event") -> None:
        assert event.recorded


class Event:
    def __init__(self, disable_timing: bool = False) -> None:
        self.recorded = False

    def record(self, stream: Any) -> None:
        self.recorded = True


def get_current_stream() -> Stream:
    return Stream(non_blocking=True)


def install() -> None:
    """Two emulated GPUs, and this NCCL for them."""
    from types import SimpleNamespace

    from caffepy import device
    from caffepy.parallel import nccl
    from tests.cuda_on_cpu import EmulatedCuda

    names = ("get_unique_id", "get_version", "groupStart", "groupEnd", "NcclCommunicator")
    library = SimpleNamespace(**{name: globals()[name] for name in names})
    cuda = SimpleNamespace(nccl=library, Stream=Stream, Event=Event, get_current_stream=get_current_stream)
    nccl.import_nccl = lambda: cuda  # type: ignore[assignment]
    device.use(EmulatedCuda(), EmulatedCuda())
