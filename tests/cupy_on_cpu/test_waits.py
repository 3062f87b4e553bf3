"""How often the host waits for the GPU: the budget of each call."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cupy_on_cpu import checks, host_time, standin
from tests.nets import FORCED, make, noise
from tests.solver import golden

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


X, DIFF = noise(2, 3, 8, 8), noise(2, 5)
CALLS: dict[str, tuple[int, Callable[[Any], Any]]] = {
    "forward": (2, lambda net: net.forward(data=X)),
    "backward": (4, lambda net: (net.forward(data=X), net.backward(fc=DIFF))),
    "gradient": (3, lambda net: (net.forward(data=X), net.gradient({"fc": DIFF}))),
}


@pytest.mark.parametrize("call", CALLS)
def test_inputs_of_the_host_and_results_read_there_wait_once_each(call: str, lazy: Any) -> None:
    budget, run = CALLS[call]
    net = make(FORCED)
    for _ in range(3):
        run(net)
    before = standin.waits()
    run(net)
    assert standin.waits() - before <= budget


def test_a_solvers_step_waits_for_settings_labels_and_the_loss(lazy: Any) -> None:
    with golden.opened("solvers", "sgd_fixed") as solver:
        solver.step(4)
        before = standin.waits()
        solver.step(5)
        assert standin.waits() - before <= 3 * 5


@pytest.mark.parametrize("stream", ["null", "own"])
def test_a_settled_pass_makes_as_many_calls_of_cuda_whatever_the_net(stream: str, lazy: Any) -> None:
    import cupy

    made = []
    on = cupy.cuda.Stream.null if stream == "null" else cupy.cuda.Stream(non_blocking=True)
    with on:
        for pairs in (1, 20):
            passes = host_time.Passes(host_time.chain(pairs, 8))
            with standin.failing(0, 0):
                passes.both()
            made.append(standin.calls())
    assert made[0] == made[1]
    assert made[0] <= {"null": 22, "own": 34}[stream]


def test_looking_at_weights_sends_none_up_again(lazy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = make(FORCED)
    expected = net.forward(data=noise(2, 3, 8, 8))["fc"].copy()
    net.save(tmp_path / "net.caffemodel")
    net.save(tmp_path / "net.h5")
    monkeypatch.setattr(lazy, "upload", lambda *_: pytest.fail("something was copied from the host"))
    before = standin.waits()
    checks.run(net)
    assert standin.waits() == before
    checks.same(net.blobs["fc"].data, expected)
