"""The device interface: memory, arrays as opaque as a GPU's, and capture."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from caffepy.errors import DeviceError, KernelError
from tests.cuda_on_cpu import DeviceArray, EmulatedCuda

ADD = 'extern "C" __global__ void add(float* y, float a) { y[threadIdx.x] += a; }'


@pytest.fixture
def device() -> EmulatedCuda:
    return EmulatedCuda()


def host(device: EmulatedCuda, array: DeviceArray) -> np.ndarray:
    out = np.empty(array.shape, array.dtype)
    device.download(array, out)
    return out


def test_zeros_are_zeros_and_fresh_memory_is_poisoned(device: EmulatedCuda) -> None:
    assert not host(device, device.zeros(1000, np.float32)).any()
    assert np.isnan(host(device, device.empty(1000, np.float32))).all()
    assert (host(device, EmulatedCuda(poison=0x7F).empty(9, np.float32)) > 1e38).all()
    assert device.zeros(0, np.float32).size == 0


def test_copies_fills_and_both_ways_to_the_host(device: EmulatedCuda) -> None:
    a, b = device.empty(6, np.float32), device.empty(6, np.float32)
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    device.upload(values, a)
    device.copy(a, b)
    device.fill(a[2:4], 7)
    np.testing.assert_array_equal(host(device, b.reshape(2, 3)), values)
    np.testing.assert_array_equal(host(device, a), [0, 1, 7, 7, 4, 5])


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (lambda d, a: d.upload(np.zeros(4, np.float64), a), "4 elements of float64 do not fit 4 elements of float32"),
        (lambda d, a: d.upload(np.zeros(5, np.float32), a), "5 elements"),
        (lambda d, a: d.upload(np.zeros(8, np.float32)[::2], a), "C-contiguous"),
        (lambda d, a: d.upload(a, a), "from ndarray to DeviceArray, got DeviceArray and DeviceArray"),
        (lambda d, a: d.download(a, [0, 0, 0, 0]), "got DeviceArray and list"),
        (
            lambda d, a: d.copy(a, np.zeros(4, np.float32)),
            "from DeviceArray to DeviceArray, got DeviceArray and ndarray",
        ),
        (lambda d, a: d.copy(a, a[:2]), "do not fit 2"),
    ],
)
def test_nothing_is_converted_on_the_way(
    device: EmulatedCuda, what: Callable[[EmulatedCuda, DeviceArray], None], message: str
) -> None:
    with pytest.raises(KernelError, match=message):
        what(device, device.zeros(4, np.float32))


def test_an_array_tells_what_cupy_tells(device: EmulatedCuda) -> None:
    a = device.zeros(24, np.float32).reshape(2, 3, 4)
    assert (a.shape, a.ndim, a.size, a.nbytes) == ((2, 3, 4), 3, 24, 96)
    assert a.dtype == np.float32
    assert a.strides == (48, 16, 4)
    assert a.flags.c_contiguous
    assert a[1:].data.ptr == a.data.ptr + 48
    assert a.reshape((6, 4)).shape == a.reshape(-1, 4).shape == (6, 4)
    assert device.is_array(a)
    assert not device.is_array(np.zeros(3))


@pytest.mark.parametrize(
    "touch",
    [
        np.asarray,
        np.sum,
        float,
        list,
        lambda a: a + a,
        lambda a: np.ones(1, np.float32) * a,
        lambda a: a[0],
        lambda a: a[::2],
        lambda a: a.__setitem__(slice(None), 1),
    ],
)
def test_the_host_cannot_touch_an_array(device: EmulatedCuda, touch: Callable[[Any], Any]) -> None:
    with pytest.raises((TypeError, AttributeError)):
        touch(device.zeros(1, np.float32))


def test_an_array_keeps_its_memory_as_long_as_any_part_of_it_lives(device: EmulatedCuda) -> None:
    part = device.zeros(4, np.float32)[2:].reshape(2, 1)
    for _ in range(10):
        device.empty(4, np.float32)
    assert not host(device, part).any()


def captured(device: EmulatedCuda, body: Callable[[], Any]) -> Any:
    with device.ordered(device.stream()):
        return device.capture(body)


def test_a_graph_does_again_what_was_captured_and_nothing_while_it_was(device: EmulatedCuda) -> None:
    y, z = device.zeros(4, np.float32), device.zeros(4, np.float32)
    add = device.compile(ADD, "add.cu").function("add")

    def body() -> None:
        add((1,), (4,), (y, np.float32(2)))
        device.copy(y, z)
        device.fill(y[:1], 0)

    graph = captured(device, body)
    assert not host(device, y).any()
    graph.launch()
    graph.launch()
    np.testing.assert_array_equal(host(device, y), [0, 4, 4, 4])
    np.testing.assert_array_equal(host(device, z), [2, 4, 4, 4])


@pytest.mark.parametrize(
    "forbidden",
    [
        lambda d, a, h: d.zeros(1, np.float32),
        lambda d, a, h: d.empty(1, np.float32),
        lambda d, a, h: d.upload(h, a),
        lambda d, a, h: d.download(a, h),
        lambda d, a, h: d.synchronize(),
        lambda d, a, h: d.compile(ADD, "add.cu"),
        lambda d, a, h: captured(d, lambda: None),
    ],
)
def test_a_capture_refuses_what_cuda_refuses_and_then_ends(device: EmulatedCuda, forbidden: Callable[..., Any]) -> None:
    a, h = device.zeros(4, np.float32), np.zeros(4, np.float32)
    with pytest.raises(DeviceError, match="capture"):
        captured(device, lambda: forbidden(device, a, h))
    forbidden(device, a, h)


def test_a_capture_on_the_default_stream_is_refused(device: EmulatedCuda) -> None:
    with pytest.raises(DeviceError, match="default stream"):
        device.capture(lambda: None)


def test_what_is_late_is_done_when_somebody_waits() -> None:
    device = EmulatedCuda(late=True)
    a, given, taken = device.zeros(4, np.float32), np.ones(4, np.float32), np.empty(4, np.float32)
    upload = device.upload(given, a)
    upload.wait()
    given[...] = 2
    device.download(a, taken)
    assert (taken == 1).all()
    device.upload(given, a)
    given[...] = 3
    device.download(a, taken)
    assert (taken == 3).all()


def test_a_graph_does_not_keep_memory_alive(device: EmulatedCuda) -> None:
    add = device.compile(ADD, "add.cu").function("add")
    arrays = [device.zeros(4, np.float32)]
    graph = captured(device, lambda: add((1,), (4,), (arrays[0], np.float32(1))))
    arrays.clear()
    with pytest.raises(DeviceError, match="add: captured with an array whose memory has been freed"):
        graph.launch()


def test_only_an_array_of_its_own_is_adopted(device: EmulatedCuda) -> None:
    array = device.zeros(3, np.float32)
    assert device.adopt(array) is array
    assert device.adopt(np.zeros(3, np.float32)) is None
    assert not device.host_zeros(3, np.int32).any()


def test_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(DeviceError, match="it must be one of ascending, descending, random"):
        EmulatedCuda("sideways")
