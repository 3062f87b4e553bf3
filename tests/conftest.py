"""Fixtures that any test may ask for, and the reason why tests on a real GPU are skipped where there is none."""

import functools
from collections.abc import Iterator

import pytest

from caffepy.device.cuda import why_not
from tests.gpu_mode import gpu

__all__ = ["gpu"]


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What was measured on this machine's GPU steers no test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAFFEPY_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@functools.cache
def no_gpu() -> str | None:
    return why_not(0)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and (reason := no_gpu()):
        pytest.skip(f"needs a real GPU: {reason}")
