"""What this machine's processor and memory can do: `python -m benchmarks.ceilings THREADS` prints a line of JSON."""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

LARGE, SMALL = 1 << 28, 1 << 17
"""Bytes of an array that no cache holds, and of one that each core's own does."""
SIDE = 2048
"""Of the matrices."""


def measure(threads: int) -> dict[str, float]:
    """GFLOP/s of a product of matrices by NumPy's BLAS, GB/s read and written by copies, the best of some tries."""
    left, right = (np.ones((SIDE, SIDE), np.float32) for _ in range(2))
    total = np.empty_like(left)
    product = min(_seconds(lambda: np.matmul(left, right, out=total)) for _ in range(5))
    return {
        "GFLOP/s": round(2e-9 * SIDE**3 / product, 1),
        "GB/s": round(max(_copies(LARGE // threads, 1, threads) for _ in range(5)), 1),
        "GB/s in cache": round(max(_copies(SMALL, 2000, threads) for _ in range(5)), 1),
    }


def _copies(size: int, times: int, threads: int) -> float:
    arrays = [(np.ones(size, np.uint8), np.ones(size, np.uint8)) for _ in range(threads)]

    def copy(pair: tuple[np.ndarray, np.ndarray]) -> None:
        for _ in range(times):
            np.copyto(*pair)

    with ThreadPoolExecutor(threads) as pool:
        return 2e-9 * size * times * threads / _seconds(lambda: list(pool.map(copy, arrays)))


def _seconds(run: Any) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
