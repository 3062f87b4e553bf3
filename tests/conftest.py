"""Fixtures that any test may ask for, and the reason why tests on a real GPU are skipped where there is none."""

import functools

import pytest

from caffepy.device.cuda import why_not
from tests.gpu_mode import gpu

__all__ = ["gpu"]


@functools.cache
def no_gpu() -> str | None:
    return why_not(0)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and (reason := no_gpu()):
        pytest.skip(f"needs a real GPU: {reason}")
