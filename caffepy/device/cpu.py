"""The CPU as a device: its arrays are NumPy's."""

import numpy as np
from numpy.typing import DTypeLike, NDArray


class Cpu:
    """Allocates host memory; operations on it run their NumPy twins."""

    name = "cpu"

    def zeros(self, count: int, dtype: DTypeLike) -> NDArray[np.generic]:
        """A flat array of `count` zeros."""
        return np.zeros(count, dtype)
