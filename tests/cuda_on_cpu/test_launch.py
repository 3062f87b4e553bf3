"""A launch's sizes and arguments: what CuPy would pass wrongly, and what no GPU would take, is refused."""

from typing import Any

import numpy as np
import pytest

from caffepy.errors import DeviceError, KernelError
from tests.cuda_on_cpu import EmulatedCuda
from tests.cuda_on_cpu.module import Function

SOURCE = """
struct Window { int top, left; float scale; };
extern "C" __global__ void __launch_bounds__(128) k(const float* x, int* y, int n, float a, bool up, Window window) {
  if (threadIdx.x < n) y[threadIdx.x] = (x ? int(x[threadIdx.x] * a) : -1) + up + window.left + int(window.scale);
}
"""
WINDOW = np.array((5, 10, 100.0), np.dtype([("top", np.int32), ("left", np.int32), ("scale", np.float32)]))


@pytest.fixture
def device() -> EmulatedCuda:
    return EmulatedCuda()


@pytest.fixture
def kernel(device: EmulatedCuda) -> Function:
    return device.compile(SOURCE, "k.cu").function("k")


def arguments(device: EmulatedCuda) -> list[Any]:
    x = device.zeros(8, np.float32)
    device.upload(np.arange(8, dtype=np.float32), x)
    return [x, device.zeros(8, np.int32), np.int32(8), np.float32(2), np.bool_(True), WINDOW]


def result(device: EmulatedCuda, kernel: Function, args: list[Any]) -> list[int]:
    kernel((1,), (32,), tuple(args))
    host = np.empty(8, np.int32)
    device.download(args[1], host)
    return host.tolist()


def test_pointers_numbers_and_structs_arrive(device: EmulatedCuda, kernel: Function) -> None:
    args = arguments(device)
    assert result(device, kernel, args) == [111 + 2 * i for i in range(8)]
    args[0], args[5] = None, WINDOW.reshape(1)
    assert result(device, kernel, args) == [110] * 8


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (0, np.zeros(8, np.float32), "must be a device array or None, got ndarray"),
        (1, lambda d: d.zeros(8, np.float32), "must be an array of int32, got float32"),
        (2, 8, "must be numpy.int32, got Python's int"),
        (2, np.int64(8), "must be numpy.int32, got int64"),
        (3, 2.0, "must be numpy.float32, got Python's float"),
        (3, np.float64(2), "must be numpy.float32, got float64"),
        (4, True, "must be numpy.bool, got Python's bool"),
        (5, np.zeros((), WINDOW.dtype.descr[:2]), "must be a structured array of 12 bytes"),
        (5, np.zeros(3, np.int32), "must be a structured array of 12 bytes"),
    ],
)
def test_arguments_must_be_what_the_kernel_reads(
    device: EmulatedCuda, kernel: Function, position: int, value: Any, message: str
) -> None:
    args = arguments(device)
    args[position] = value(device) if callable(value) else value
    with pytest.raises(KernelError, match=f"k: argument {position} {message}"):
        kernel((1,), (32,), tuple(args))


def test_their_number_must_fit(device: EmulatedCuda, kernel: Function) -> None:
    with pytest.raises(KernelError, match="k: it has 6 parameters, got 5 arguments"):
        kernel((1,), (32,), tuple(arguments(device)[:-1]))


@pytest.mark.parametrize(
    ("grid", "block", "shared_bytes", "message"),
    [
        ((1,), (129,), 0, r"block \(129,\) is over the 128 threads it is compiled for"),
        ((1,), (16, 16), 0, "over the 128 threads"),
        ((1,), (1025,), 0, r"block \(1025,\) has to lie between 1 and \(1024,\)"),
        ((1,), (1, 1, 65), 0, "block"),
        ((0,), (32,), 0, r"grid \(0,\) has to lie between 1 and"),
        ((1, 65536), (32,), 0, "grid"),
        ((1,), (32,), 227 * 1024 + 1, "232449 bytes of shared memory, the device has 232448"),
    ],
)
def test_sizes_must_be_possible(
    device: EmulatedCuda,
    kernel: Function,
    grid: tuple[int, ...],
    block: tuple[int, ...],
    shared_bytes: int,
    message: str,
) -> None:
    with pytest.raises(DeviceError, match=message):
        kernel(grid, block, tuple(arguments(device)), shared_bytes)


@pytest.mark.parametrize("grid", [(1, 1, 1, 1), (), 1, [1]])
def test_sizes_must_be_tuples(device: EmulatedCuda, kernel: Function, grid: Any) -> None:
    with pytest.raises(KernelError, match="grid must be a tuple of one to three numbers"):
        kernel(grid, (32,), tuple(arguments(device)))


def test_sizes_may_be_numpys(device: EmulatedCuda, kernel: Function) -> None:
    grid: Any = (np.int64(2),)
    block: Any = (np.int32(8), 2)
    kernel(grid, block, tuple(arguments(device)))


def test_vector_pointers_take_arrays_of_their_elements(device: EmulatedCuda) -> None:
    source = 'extern "C" __global__ void k(const float4* x, void* y) { *(float*)y = x[1].z; }'
    args = arguments(device)
    y = device.zeros(1, np.float32)
    device.compile(source, "k.cu").function("k")((1,), (1,), (args[0], y))
    host = np.empty(1, np.float32)
    device.download(y, host)
    assert host[0] == 6


def test_a_name_that_is_no_kernel(device: EmulatedCuda) -> None:
    with pytest.raises(KernelError, match=r"k.cu has no `extern \"C\" __global__ void missing`, only \['k'\]"):
        device.compile(SOURCE, "k.cu").function("missing")
