"""How often the host waits for the GPU: the budget of each call."""

from typing import Any

import numpy as np
import pytest

from tests.cupy_on_cpu import checks, standin
from tests.nets import FORCED, make, noise

pytestmark = [pytest.mark.gpu, standin.needed()]


def test_settled_passes_on_arrays_of_the_gpu_wait_for_nothing(lazy: Any) -> None:
    net = make(FORCED)
    net.forward(data=noise(2, 3, 8, 8))
    diff = lazy.zeros(10, np.float32).reshape(2, 5)
    lazy.fill(diff, 1)
    out = {"data": lazy.zeros(2 * 3 * 8 * 8, np.float32).reshape(2, 3, 8, 8)}
    for _ in range(3):
        net.gradient({"fc": diff}, out=out)
        checks.run(net)
    before = standin.waits()
    for _ in range(5):
        checks.run(net)
        net.gradient({"fc": diff}, out=out)
        net.backward_from_to(len(net.layers) - 1, 0)
    assert standin.waits() == before


def test_inputs_of_the_host_and_results_read_there_wait_once_each(lazy: Any) -> None:
    net = make(FORCED)
    for seed in range(3):
        net.forward(data=noise(2, 3, 8, 8, seed=seed))
    before = standin.waits()
    net.forward(data=noise(2, 3, 8, 8, seed=9))
    assert standin.waits() - before <= 2
