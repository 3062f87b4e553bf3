"""Where arrays live and operations run: one device at a time for the whole process, read at each pass."""

import functools
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffepy.device.cpu import Cpu
from caffepy.device.interface import Function, Gpu, Graph, Module, Upload
from caffepy.errors import DeviceError

__all__ = [
    "Cpu",
    "Device",
    "Function",
    "Gpu",
    "Graph",
    "Module",
    "Upload",
    "current",
    "downloaded",
    "gpu",
    "named",
    "pinned",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "use",
]

Device = Cpu | Gpu

_cpu = Cpu()
_gpus: dict[int, Gpu] = {}
_index = 0
_running: Device = _cpu
_thread = threading.local()


def current() -> Device:
    """The device that passes of this thread run on now."""
    pinned: Device | None = getattr(_thread, "pinned", None)
    return pinned or _running


def set_mode_cpu() -> None:
    """Run every following pass on the CPU."""
    global _running
    _running = _cpu


def set_mode_gpu() -> None:
    """Run every following pass on the GPU that `set_device` chose, GPU 0 at first.

    Raises DeviceError, with the reason, where it cannot be used; GPU mode never falls back to the CPU. It means the
    CPU, and says so once on stderr, where the environment has CAFFEPY_MODE=cpu.
    """
    global _running
    if os.environ.get("CAFFEPY_MODE", "").lower() == "cpu":
        _say_once("CAFFEPY_MODE=cpu: set_mode_gpu() means the CPU here")
        set_mode_cpu()
    else:
        _running = gpu(_index)


@functools.cache
def _say_once(message: str) -> None:
    print(message, file=sys.stderr)


def set_device(index: int) -> None:
    """Choose the GPU by its number, from 0. In GPU mode, passes run there from now on."""
    global _index
    in_gpu_mode = _running is not _cpu
    if in_gpu_mode:
        gpu(index)
    _index = index
    if in_gpu_mode:
        set_mode_gpu()


def gpu(index: int) -> Gpu:
    """GPU `index`. Raises DeviceError, with the reason, where it cannot be used."""
    if index not in _gpus:
        from caffepy.device.cuda import Cuda

        _gpus[index] = Cuda(index)
    return _gpus[index]


def named(name: int | str | None) -> Device | None:
    """The device that a net is pinned to: a GPU by its number, "cpu", or None for whichever is running."""
    if name is None:
        return None
    if name == "cpu":
        return _cpu
    if isinstance(name, int):
        return gpu(name)
    raise DeviceError(f'device {name!r}: give the number of a GPU, "cpu", or None for the one that the mode chooses')


def downloaded(array: Any) -> NDArray[np.float32]:
    """The array of float32 on the host: a NumPy array itself, else a copy of what the running GPU has."""
    if isinstance(array, np.ndarray):
        return array
    host = np.empty(array.shape, np.float32)
    running = current()
    assert not isinstance(running, Cpu)
    running.download(array, host)
    return host


@contextmanager
def pinned(to: Device | None) -> Iterator[None]:
    """Let this thread run passes on `to` meanwhile, whatever the mode; None changes nothing."""
    before = getattr(_thread, "pinned", None)
    _thread.pinned = to or before
    try:
        yield
    finally:
        _thread.pinned = before


def use(*gpus: Gpu) -> None:
    """Let these be the GPUs 0, 1, ..., emulated ones in tests; none for the real ones again. Ends GPU mode."""
    global _index
    _gpus.clear()
    _gpus.update(enumerate(gpus))
    _index = 0
    set_mode_cpu()
