"""The CPU as a device: its arrays are NumPy's."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from caffepy.errors import DeviceError


class Cpu:
    """Allocates host memory; operations on it run their NumPy bodies."""

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
        array.fill(value)

    def copy(self, source: NDArray[Any], target: NDArray[Any]) -> None:
        """target = source, of the same size."""
        np.copyto(target, source.reshape(target.shape))

    def is_array(self, value: object) -> bool:
        """Whether `value` is a NumPy array."""
        return isinstance(value, np.ndarray)
