"""Fixtures of the tests on the stand-in."""

from collections.abc import Iterator
from typing import Any

import pytest

from caffepy import device
from tests.cupy_on_cpu import standin
from tests.gpu_mode import running


@pytest.fixture
def lazy() -> Iterator[Any]:
    """GPU mode on the slowest GPU there could be."""
    with standin.order("lazy"), running("gpu-real") as gpu:
        yield gpu


@pytest.fixture
def two_gpus(lazy: Any) -> tuple[Any, Any]:
    """GPU 0 and GPU 1."""
    import cupy

    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("one GPU only: set FAKECUDA_DEVICES=2")
    device.use()
    device.set_mode_gpu()
    return device.gpu(0), device.gpu(1)
