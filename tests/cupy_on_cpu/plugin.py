"""`python -m pytest -p tests.cupy_on_cpu.plugin`: tests marked gpu run on the real CuPy over the stand-in.

Kernels run there as in tests/cuda_on_cpu, which has each of their tests already. So of a kernel's test the first set of
parameters shows what CuPy adds; the others, and nets of Caffe's sizes, are marked long.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cupy_on_cpu import build, standin

if _reason := build.unavailable():
    raise pytest.UsageError(f"CuPy cannot run on the CPU here: {_reason}")
standin.install()

_TESTS = Path(__file__).parents[1]
_LARGE = _TESTS / "gpu" / "test_nets.py"


@pytest.hookimpl(tryfirst=True)  # before pytest looks for marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what takes minutes."""
    seen: set[tuple[Path, str]] = set()
    for item in items:
        if item.get_closest_marker("gpu") is None:
            continue
        test = item.path, getattr(item, "originalname", item.name)
        if item.path == _LARGE or (_TESTS / "kernels_on_cpu" in item.path.parents and test in seen):
            item.add_marker(pytest.mark.long)
        seen.add(test)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Iterator[None]:
    """A fault of the GPU fails the test that it was found in."""
    yield
    if words := standin.fault():
        pytest.fail(f"a fault of the GPU: {words}")
