"""Where arrays live and operations run: one device at a time for the whole process, read at each pass."""

from caffepy.device.cpu import Cpu
from caffepy.device.interface import Function, Gpu, Graph, Module

__all__ = [
    "Cpu",
    "Device",
    "Function",
    "Gpu",
    "Graph",
    "Module",
    "current",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "use",
]

Device = Cpu | Gpu

_cpu = Cpu()
_gpu: Gpu | None = None
_index = 0
_running: Device = _cpu


def current() -> Device:
    """The device that passes run on now."""
    return _running


def set_mode_cpu() -> None:
    """Run every following pass on the CPU."""
    global _running
    _running = _cpu


def set_mode_gpu() -> None:
    """Run every following pass on the GPU that `set_device` chose, GPU 0 at first.

    Raises DeviceError, with the reason, where it cannot be used; GPU mode never falls back to the CPU.
    """
    global _gpu, _running
    if _gpu is None:
        from caffepy.device.cuda import Cuda

        _gpu = Cuda(_index)
    _running = _gpu


def set_device(index: int) -> None:
    """Choose the GPU by its number, from 0. In GPU mode, passes run there from now on."""
    global _gpu, _index
    if index != _index:
        _index, _gpu = index, None
        if _running is not _cpu:
            set_mode_gpu()


def use(gpu: Gpu | None) -> None:
    """Let `gpu` be what GPU mode runs on, an emulated one in tests; None for a real one again."""
    global _gpu
    _gpu = gpu
    set_mode_cpu()
