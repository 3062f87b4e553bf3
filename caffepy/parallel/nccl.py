"""pycaffe's NCCL: one process for each GPU, sums by NVIDIA's library through CuPy."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from caffepy import device
from caffepy.device.ranks import solver_count, solver_rank
from caffepy.errors import ArgumentError, DeviceError
from caffepy.parallel.group import Group, Part
from caffepy.parallel.mean import GradientMean
from caffepy.solver import Solver

_FLOAT, _SUM, _MAX, _AVERAGE = 7, 0, 2, 4
"""nccl.h: ncclFloat32, ncclSum, ncclMax, ncclAvg."""


def import_nccl() -> Any:
    """The module cupy.cuda with nccl. Raises DeviceError where it or the library is not there."""
    try:
        from cupy import cuda
        from cupy.cuda import nccl

        nccl.get_version()
    except Exception as error:  # CuPy raises what its loader met
        raise DeviceError(
            f"NCCL, which adds up over GPUs, cannot be loaded ({error}); pip install nvidia-nccl-cu13 beside "
            "caffepy[cuda13], or nvidia-nccl-cu12 beside caffepy[cuda12]"
        ) from error
    return cuda


class NcclGroup:
    """Processes that know one id, each on a GPU of its own: the running one."""

    def __init__(self, uid: Any, rank: int, size: int, cuda: Any = None) -> None:
        gpu = device.current()
        if isinstance(gpu, device.Cpu):
            raise DeviceError(
                "NCCL adds up on GPUs: call set_device and set_mode_gpu first; on CPUs, train under mpiexec"
            )
        self.rank, self.size, self._gpu = rank, size, gpu
        self._cuda = import_nccl() if cuda is None else cuda
        self._communicator = self._cuda.nccl.NcclCommunicator(size, uid, rank)
        self._stream, self._reached = self._cuda.Stream(non_blocking=True), self._cuda.Event(disable_timing=True)
        self._number = gpu.zeros(1, np.float32)

    def broadcast(self, parts: Sequence[Part]) -> None:
        """Give all of them rank 0's values."""
        self._on_own_stream(
            [
                (self._communicator.bcast, (array.data.ptr, count, _FLOAT, 0, self._stream.ptr))
                for array, count in self._arrays(parts)
            ]
        )
        self.end_means()

    def begin_mean(self, parts: Sequence[Part]) -> None:
        """Launch averages beside what runs, behind what was launched before."""
        self._reduce(self._arrays(parts), _AVERAGE)

    def end_means(self) -> None:
        """Let what is launched from now on come after them."""
        self._reached.record(self._stream)
        self._cuda.get_current_stream().wait_event(self._reached)

    def largest(self, number: int) -> int:
        """The largest of the ranks' numbers."""
        self._gpu.fill(self._number, number)
        self._reduce([(self._number, 1)], _MAX)
        self.end_means()
        found = np.empty(1, np.float32)
        self._gpu.download(self._number, found)
        return int(found[0])

    def _arrays(self, parts: Sequence[Part]) -> list[tuple[Any, int]]:
        return [(storage.array(count, "update"), count) for storage, count in parts]

    def _reduce(self, arrays: Sequence[tuple[Any, int]], how: int) -> None:
        calls = [
            (self._communicator.allReduce, (array.data.ptr, array.data.ptr, count, _FLOAT, how, self._stream.ptr))
            for array, count in arrays
        ]
        self._on_own_stream(calls)

    def _on_own_stream(self, calls: Sequence[tuple[Any, tuple[Any, ...]]]) -> None:
        """Launch them as one, behind all passes so far."""
        self._gpu.after_passes()
        self._reached.record(self._cuda.get_current_stream())
        self._stream.wait_event(self._reached)
        self._cuda.nccl.groupStart()
        try:
            for call, arguments in calls:
                call(*arguments)
        finally:
            self._cuda.nccl.groupEnd()


class NCCL(GradientMean):
    """caffe.NCCL(solver, uid): `bcast()`, then `solver.add_callback(nccl)`, in `solver_count()` processes.

    uid   what `new_uid` gave to one process, which hands it to all

    Raises DeviceError in CPU mode, or where NCCL cannot be loaded.
    """

    def __init__(self, solver: Solver, uid: Any) -> None:
        super().__init__(solver, connected(uid, solver_rank(), solver_count()))

    @staticmethod
    def new_uid() -> tuple[int, ...]:
        """An id for a group of processes. Raises DeviceError where NCCL cannot be loaded."""
        found: tuple[int, ...] = tuple(import_nccl().nccl.get_unique_id())
        return found


def connected(uid: Any, rank: int, size: int) -> Group:
    """The group of that id. Raises ArgumentError for a rank that is none."""
    if not 0 <= rank < size:
        raise ArgumentError(f"solver_rank {rank} of solver_count {size}: call set_solver_count and set_solver_rank")
    return NcclGroup(uid, rank, size)
