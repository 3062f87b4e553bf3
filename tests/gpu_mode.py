"""GPU mode in tests: on the emulated device of tests/cuda_on_cpu, and on a real GPU where the tests have one.

def test_of_a_net(gpu):                         # the fixture: once in each of GPU_MODES, CPU mode again afterwards
    net = caffepy.Net(...)

with running("gpu-random"):                     # or "cpu", "gpu-ascending", "gpu-descending", "gpu-real"
    ...

with running("gpu-ascending"):
    check_bodies(relu_forward, bottom, top, negative_slope=0.1)     # the CUDA body against NumPy's

Where no C++ compiler is there, the emulated modes skip the test, saying so. A test in mode REAL carries the marker
`gpu`: `pytest -m gpu` runs those alone, and where no GPU can be used tests/conftest.py skips them with one reason.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from caffepy import device
from caffepy.device.cuda import Cuda
from caffepy.kernels import Kernel
from tests.cuda_on_cpu import EmulatedCuda, unavailable

SCHEDULES = ("ascending", "descending", "random")
REAL = pytest.param("gpu-real", marks=pytest.mark.gpu)
"""GPU 0 of this machine."""
GPU_MODES = (*(f"gpu-{schedule}" for schedule in SCHEDULES), REAL)
MODES = ("cpu", *GPU_MODES)


@contextmanager
def running(mode: str) -> Iterator[Any]:
    """Run in one of MODES; gives the GPU, None in CPU mode. Afterwards it is CPU mode without emulation."""
    if mode == "cpu":
        device.set_mode_cpu()
        yield None
        return
    chosen = _real() if mode == "gpu-real" else _emulated(mode.removeprefix("gpu-"))
    device.use(chosen)
    device.set_mode_gpu()
    try:
        yield chosen
    finally:
        device.use()


@pytest.fixture(params=GPU_MODES)
def gpu(request: pytest.FixtureRequest) -> Iterator[Any]:
    """GPU mode: under each schedule of threads and blocks in turn, and on a real GPU."""
    with running(request.param) as chosen:
        yield chosen


def noise(*shape: int) -> np.ndarray:
    """Normal numbers, the same for the same shape."""
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def whole(*numbers: int) -> np.ndarray:
    """What operations take as Ints."""
    return np.array(numbers, np.int32)


def check_bodies(
    operation: Kernel[...], *args: Any, rtol: float = 1e-5, atol: float = 1e-6, start: int = 0, **constants: Any
) -> None:
    """Run both bodies of `operation` on copies of the host arrays in `args`; all arrays must agree afterwards.

    What is in `workspace` then is their own affair. An array given twice stays one array. With rtol = atol = 0 values
    must be equal. On the GPU an array begins `start` elements after an address that is aligned for any vector, and what
    lies around it must stand. Call it in GPU mode.
    """
    on_host, on_gpu = _Copies(), _Copies()
    expected = [on_host.of(arg, np.copy) for arg in args]
    found = [on_gpu.of(arg, lambda array: _Fenced(array, start)) for arg in args]
    operation(*expected, **constants)
    operation(*(value.array if isinstance(value, _Fenced) else value for value in found), **constants)
    for name, host, fenced in zip(operation.arguments, expected, found, strict=True):
        if isinstance(fenced, _Fenced):
            where = f"{operation.name}: {name}"
            after = fenced.checked(where)
            if name != "workspace":
                np.testing.assert_allclose(after, host, rtol, atol, err_msg=where)


def downloaded(array: Any) -> NDArray[Any]:
    """A host copy of an array on the running GPU."""
    host = np.empty(array.shape, array.dtype)
    _gpu().download(array, host)
    return host


class _Fenced:
    """A copy of a host array on the GPU, in the midst of elements that nobody may write."""

    WIDTH, FENCE = 64, -77

    def __init__(self, host: NDArray[Any], start: int):
        begin = self.WIDTH + start
        self._inside = slice(begin, begin + host.size)
        fenced = np.full(host.size + 2 * begin, self.FENCE, host.dtype)
        fenced[self._inside] = host.reshape(-1)
        self._memory = _gpu().zeros(fenced.size, host.dtype)
        _gpu().upload(fenced, self._memory)
        self.array = self._memory[self._inside].reshape(host.shape)

    def checked(self, what: str) -> NDArray[Any]:
        """What the array holds now, after looking at the elements around it."""
        after = downloaded(self._memory)
        inside = after[self._inside].reshape(self.array.shape).copy()
        after[self._inside] = self.FENCE
        assert (after == self.FENCE).all(), f"{what}: something was written beside it"
        return inside


class _Copies:
    """Copies of arrays, one for each however often it is asked for."""

    def __init__(self) -> None:
        self._made: dict[int, Any] = {}

    def of(self, value: Any, copy: Callable[[NDArray[Any]], Any]) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        if id(value) not in self._made:
            self._made[id(value)] = copy(value)
        return self._made[id(value)]


def _gpu() -> device.Gpu:
    current = device.current()
    assert not isinstance(current, device.Cpu), "call it in GPU mode"
    return current


@functools.cache
def _emulated(schedule: str) -> EmulatedCuda:
    """One device for each schedule, so that what it has loaded serves all tests."""
    if reason := unavailable():
        pytest.skip(reason)
    return EmulatedCuda(schedule, seed=1)


@functools.cache
def _real() -> Cuda:
    return Cuda(0)
