"""The CPU as a device: its arrays are NumPy's."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from caffepy.errors import DeviceError

_local = threading.local()


class Recorder(Protocol):
    """Who notes fills and copies instead of letting them be done."""

    def fill(self, array: NDArray[Any], value: float) -> None:
        """Every element = value."""

    def copy(self, source: NDArray[Any], target: NDArray[Any]) -> None:
        """target = source, of the same size."""


@contextmanager
def recorded(recorder: Recorder) -> Iterator[None]:
    """Let `recorder` have this thread's fills and copies on the CPU."""
    _local.recorder = recorder
    try:
        yield
    finally:
        _local.recorder = None


class Cpu:
    """Allocates host memory; operations on it run their NumPy bodies, or what stands for them in a captured pass."""

    name = "cpu"

    def zeros(self, count: int, dtype: DTypeLike) -> NDArray[Any]:
        """A new flat array of `count` zeros. Raises DeviceError where there is no room for it."""
        try:
            return np.zeros(count, dtype)
        except (MemoryError, ValueError, OverflowError) as error:
            raise DeviceError(f"there is no room for {count:,} values of {np.dtype(dtype)}: {error}") from error

    host_zeros = zeros

    def fill(self, array: NDArray[Any], value: float) -> None:
        """Every element = value."""
        recorder: Recorder | None = getattr(_local, "recorder", None)
        if recorder is not None:
            recorder.fill(array, value)
        else:
            array.fill(value)

    def copy(self, source: NDArray[Any], target: NDArray[Any]) -> None:
        """target = source, of the same size."""
        recorder: Recorder | None = getattr(_local, "recorder", None)
        if recorder is not None:
            recorder.copy(source, target)
        else:
            np.copyto(target, source.reshape(target.shape))

    def is_array(self, value: object) -> bool:
        """Whether `value` is a NumPy array."""
        return isinstance(value, np.ndarray)
