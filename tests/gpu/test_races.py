"""What depends on order, while a real GPU is kept busy: copies and kernels of passes then wait for their turn."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from caffepy import device
from tests.cupy_on_cpu import checks, standin
from tests.gpu.test_callers import SPIN
from tests.gpu_mode import running

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(standin.installed(), reason="tests/cupy_on_cpu/test_order.py has them in any order there is"),
]

TIMES = 20
MOMENT = 300_000
"""Cycles, some 0.2 ms: longer than a copy or a kernel of the nets takes."""


@contextmanager
def busy(gpu: Any) -> Iterator[None]:
    """Another thread keeps all multiprocessors and the copies from the host busy, for a moment, again and again."""
    import cupy

    over = threading.Event()

    def load() -> None:
        with cupy.cuda.Device(gpu.index), cupy.cuda.Stream(non_blocking=True) as stream:
            spin = cupy.RawKernel(SPIN, "spin")
            host, copy = gpu.host_zeros(1 << 22, np.float32), cupy.zeros(1 << 22, np.float32)
            while not over.is_set():
                spin((8 * gpu.multiprocessors,), (256,), (MOMENT,))
                copy.set(host)
                stream.synchronize()

    thread = threading.Thread(target=load)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("check", checks.ALL)
def test_results_are_the_cpus_while_the_gpu_is_busy(check: str) -> None:
    with running("gpu-real") as gpu, busy(gpu):
        for _ in range(TIMES):
            checks.ALL[check]()
            assert device.current() is gpu
