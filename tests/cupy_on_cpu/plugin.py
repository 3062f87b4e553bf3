"""`python -m pytest -p tests.cupy_on_cpu.plugin`: tests marked gpu run on the real CuPy over the stand-in."""

from collections.abc import Iterator

import pytest

from tests.cupy_on_cpu import build, standin

if _reason := build.unavailable():
    raise pytest.UsageError(f"CuPy cannot run on the CPU here: {_reason}")
standin.install()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Iterator[None]:
    """A fault of the GPU fails the test that it was found in."""
    yield
    if words := standin.fault():
        pytest.fail(f"a fault of the GPU: {words}")
