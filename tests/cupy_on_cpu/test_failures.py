"""Each CUDA call of a pass fails once: an error of our own comes out, nothing is lost, and the next pass is right."""

import numpy as np
import pytest

import caffepy as caffe
from caffepy import device, kernels
from caffepy.errors import DeviceError, KernelError
from tests.cupy_on_cpu import standin
from tests.gpu_mode import running
from tests.nets import FORCED, make, noise
from tests.solver import golden

# CuPy's own streams and events trip over themselves in __del__ where __init__ has failed.
_CUPYS = r"ignore:Exception ignored in. <cyfunction \w+\.__del__:pytest.PytestUnraisableExceptionWarning"
pytestmark = [pytest.mark.gpu, standin.needed(), pytest.mark.filterwarnings(_CUPYS)]

X = noise(2, 3, 8, 8)


def results(net: caffe.Net) -> list[np.ndarray]:
    out = net.forward(data=X)["fc"].copy()
    gradient = net.gradient({"fc": 1.0})["data"]
    back = np.empty(gradient.shape, np.float32)
    device.gpu(0).download(gradient, back)
    return [out, back]


def passes(net: caffe.Net) -> list[np.ndarray]:
    """A pass that runs, one that is captured, one that is replayed."""
    return [results(net), results(net), results(net)][-1]


def check_message(error: BaseException | None) -> bool:
    """Raises AssertionError unless it is none, or one of ours that says what CUDA answered; whether there is one."""
    assert error is None or isinstance(error, DeviceError | KernelError), repr(error)
    assert error is None or "CUDA answers" in str(error) or "no room" in str(error)
    return error is not None


RESULTS = {
    "memory": standin.MEMORY_ALLOCATION,
    "launch": standin.LAUNCH_FAILED,
    "address": standin.ILLEGAL_ADDRESS,
    "image": standin.NO_BINARY,
    "unknown": standin.UNKNOWN,
}


@pytest.mark.parametrize("result", RESULTS)
@pytest.mark.parametrize("fresh", [True, False], ids=["first pass", "settled"])
def test_every_call_may_fail_once(result: str, fresh: bool) -> None:
    if fresh and result not in ("memory", "launch"):
        pytest.skip("two kinds are enough for what takes seconds")
    with running("gpu-real"):
        nets = [make(FORCED)]
        expected = passes(nets[0])
        held, failed = standin.held(0), 0

        def use() -> None:
            if fresh:
                kernels._module.cache_clear()
                nets[0] = make(FORCED)
            (passes if fresh else results)(nets[0])

        for error in standin.every_call_fails_once(use, RESULTS[result]):
            failed += check_message(error)
            for a, b in zip(results(nets[0]), expected, strict=True):
                np.testing.assert_array_equal(a, b)
        assert failed > (20 if fresh else 5)
        assert standin.held(0) <= 4 * held  # two nets at a time, on two queues


def test_every_call_of_a_solvers_step_may_fail_once() -> None:
    with running("gpu-real"), golden.opened("solvers", "sgd_fixed") as solver:
        solver.step(4)
        failed = 0
        for error in standin.every_call_fails_once(lambda: solver.step(1), standin.MEMORY_ALLOCATION):
            failed += check_message(error)
            solver.step(1)
        assert failed > 5
        assert np.isfinite(solver.net.params[next(iter(solver.net.params))][0].data).all()
