"""Where arrays live and operations run: one device at a time for the whole process, read at each pass."""

from caffepy.device.cpu import Cpu
from caffepy.errors import DeviceError

Device = Cpu

_cpu = Cpu()


def current() -> Device:
    """The device that passes run on now."""
    return _cpu


def set_mode_cpu() -> None:
    """Run every following pass on the CPU."""


def set_mode_gpu() -> None:
    """Ask for the GPU.

    Raises DeviceError: this version has no GPU engine, and GPU mode never falls back to the CPU silently.
    """
    raise DeviceError(
        "set_mode_gpu(): this version of caffepy runs on the CPU only; remove the call, or call set_mode_cpu()"
    )


def set_device(index: int) -> None:
    """Choose the GPU that GPU mode will use; in CPU mode Caffe ignores it, and so does this."""
