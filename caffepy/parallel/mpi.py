"""Processes that mpiexec started, on one machine or many: mpi4py (extra `mpi`)."""

import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from caffepy.blob import Floats
from caffepy.errors import CaffeError, DeviceError
from caffepy.parallel.group import Part

_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS")
_LOCAL_RANKS = ("OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID")
"""What MPI's launchers say in the environment: Open MPI's, MPICH's and those of its kind."""


def started_by_mpi() -> bool:
    """Whether a launcher has started several processes."""
    return any(os.environ.get(name, "1") not in ("", "1") for name in _SIZES)


def local_rank() -> int:
    """This process's number among those of its machine."""
    return next((int(os.environ[name]) for name in _LOCAL_RANKS if os.environ.get(name)), 0)


def import_mpi() -> Any:
    """The module mpi4py.MPI. Raises DeviceError, saying what to install, where it is not there."""
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # the library itself is loaded, too
        raise DeviceError(
            f"training on several processes needs the library mpi4py and an MPI ({error}); pip install caffepy[mpi]"
        ) from error
    return MPI


class MpiGroup:
    """All processes of a run. Sums are made on the host."""

    def __init__(self, communicator: Any = None) -> None:
        self._mpi = import_mpi()
        self._communicator = self._mpi.COMM_WORLD if communicator is None else communicator
        self.rank, self.size = int(self._communicator.Get_rank()), int(self._communicator.Get_size())
        self._begun: list[tuple[Any, Floats, Sequence[Part]]] = []

    def broadcast(self, parts: Sequence[Part]) -> None:
        """Give all of them rank 0's values."""
        for storage, count in parts:
            values = storage.host(count, "update")
            self._communicator.Bcast(values, root=0)

    def begin_mean(self, parts: Sequence[Part]) -> None:
        """Begin to average a copy of the values, all in one message."""
        values = np.concatenate([storage.read_host(count) for storage, count in parts])
        request = self._communicator.Iallreduce(self._mpi.IN_PLACE, values, op=self._mpi.SUM)
        self._begun.append((request, values, parts))

    def end_means(self) -> None:
        """Wait for the sums, and put the means in their places."""
        begun, self._begun = self._begun, []
        for request, values, parts in begun:
            request.Wait()
            values *= np.float32(1 / self.size)
            start = 0
            for storage, count in parts:
                storage.host(count, "overwrite")[...] = values[start : start + count]
                start += count

    def largest(self, number: int) -> int:
        """The largest of the ranks' numbers."""
        return int(self._communicator.allreduce(number, op=self._mpi.MAX))


@contextmanager
def together(group: MpiGroup) -> Iterator[None]:
    """In this block an error of one rank ends all of them, with a message that names it: they would wait for ever."""
    try:
        yield
    except BaseException as error:
        said = str(error) if isinstance(error, CaffeError) else traceback.format_exc()
        print(f"rank {group.rank} of {group.size} ends, and all others with it: {said}", file=sys.stderr, flush=True)
        import_mpi().COMM_WORLD.Abort(1)
        raise
