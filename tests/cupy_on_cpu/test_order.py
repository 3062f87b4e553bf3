"""Nothing is read before it is written, nor written while it is read, whatever order streams run in."""

import pytest

from tests.cupy_on_cpu import checks, standin
from tests.gpu_mode import running

pytestmark = [pytest.mark.gpu, standin.needed()]


@pytest.mark.parametrize("order", ["lazy", "random"])
@pytest.mark.parametrize("check", checks.ALL)
def test_results_are_the_cpus(check: str, order: str) -> None:
    with standin.order(order), running("gpu-real"):
        for _ in range(1 if order == "lazy" else 5):
            checks.ALL[check]()
