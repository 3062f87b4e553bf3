"""Compiled kernel files and their launches, with CuPy's rules for arguments, and stricter where CuPy is silent."""

import ctypes
import math
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from caffepy.errors import DeviceError, KernelError
from tests.cuda_on_cpu import build
from tests.cuda_on_cpu.array import DeviceArray, Memory

if TYPE_CHECKING:
    from tests.cuda_on_cpu.device import EmulatedCuda

SCHEDULES = ("ascending", "descending", "random")

_GRID_LIMITS = (2**31 - 1, 65535, 65535)
_BLOCK_LIMITS = (1024, 1024, 64)


class _Request(ctypes.Structure):
    """launch.cpp's Request."""

    _fields_ = (
        ("run", ctypes.c_void_p),
        ("arguments", ctypes.POINTER(ctypes.c_void_p)),
        ("module", ctypes.c_void_p),
        ("touch_shared", ctypes.c_void_p),
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared_bytes", ctypes.c_size_t),
        ("schedule", ctypes.c_int),
        ("seed", ctypes.c_uint),
        ("workers", ctypes.c_uint),
        ("poison", ctypes.c_int),
    )


@dataclass(frozen=True)
class Step:
    """Something the device was asked to do, for once or for a graph to do again."""

    what: str
    do: Callable[[], None]
    memories: tuple["weakref.ref[Memory]", ...]

    @classmethod
    def on(cls, what: str, arrays: Sequence[DeviceArray], do: Callable[[], None]) -> "Step":
        """A step that touches `arrays`; it does not keep them alive, no more than a CUDA graph does."""
        return cls(what, do, tuple(weakref.ref(array.memory) for array in arrays))

    def run(self) -> None:
        """Raises DeviceError if an array it touches is gone, or if a kernel goes wrong."""
        if any(memory() is None for memory in self.memories):
            raise DeviceError(f"{self.what}: captured with an array whose memory has been freed since; keep it alive")
        self.do()


class Parameter:
    """One parameter of a kernel, from its code in cuda_export.h."""

    def __init__(self, code: str):
        self.pointer = code.startswith("*")
        letter, size = code.lstrip("*")[0], code.lstrip("*")[1:]
        self.struct_bytes = int(size) if letter == "s" else 0
        # void* and pointers to structs take any array.
        self.dtype = None if letter in "sv" else np.dtype("?" if letter == "b" else f"{letter}{size}")

    def check(self, value: Any) -> None:
        """Raises KernelError for what CuPy would pass otherwise than the kernel reads it."""
        if self.pointer:
            self._check_pointer(value)
        elif self.struct_bytes:
            if not isinstance(value, np.ndarray) or value.dtype.names is None or value.nbytes != self.struct_bytes:
                raise KernelError(f"must be a structured array of {self.struct_bytes} bytes, got {value!r}")
        elif not isinstance(value, np.generic) or value.dtype != self.dtype:
            given = f"{value.dtype}" if isinstance(value, np.generic) else f"Python's {type(value).__name__}"
            raise KernelError(f"must be numpy.{self.dtype}, got {given}: its bytes would be passed as they are")

    def _check_pointer(self, value: Any) -> None:
        if value is None:
            return
        if not isinstance(value, DeviceArray):
            raise KernelError(f"must be a device array or None, got {type(value).__name__}")
        if not value.flags.c_contiguous:
            raise KernelError("must be C-contiguous")
        if self.dtype is not None and value.dtype != self.dtype:
            raise KernelError(f"must be an array of {self.dtype}, got {value.dtype}")


class Function:
    """A kernel, called as f(grid, block, args, shared_bytes)."""

    def __init__(self, device: "EmulatedCuda", library: ctypes.CDLL, name: str):
        self.name = name
        self._device = device
        self._module = library._handle
        self._run = ctypes.cast(getattr(library, f"emu_run_{name}"), ctypes.c_void_p)
        code = getattr(library, f"emu_code_{name}")
        code.restype = ctypes.c_char_p
        self.parameters = [Parameter(one) for one in code().decode().split()]
        self.thread_limit: int = getattr(library, f"emu_threads_{name}")()
        touch = getattr(library, "emu_touch_shared", None)
        self._touch = touch and ctypes.cast(touch, ctypes.c_void_p)

    def __call__(
        self, grid: tuple[int, ...], block: tuple[int, ...], args: Sequence[Any], shared_bytes: int = 0
    ) -> None:
        """Launch it.

        Raises KernelError for arguments that do not fit its parameters, DeviceError for a launch that no GPU of this
        device's kind would take and for what goes wrong while it runs.
        """
        grid, block = self._checked_sizes(grid, block, shared_bytes)
        if len(args) != len(self.parameters):
            raise KernelError(f"{self.name}: it has {len(self.parameters)} parameters, got {len(args)} arguments")
        for position, (parameter, value) in enumerate(zip(self.parameters, args, strict=True)):
            try:
                parameter.check(value)
            except KernelError as error:
                raise KernelError(f"{self.name}: argument {position} {error}") from None
        held = [_bytes(value) for value in args]
        request = self._request(grid, block, held, shared_bytes)
        arrays = [value for value in args if isinstance(value, DeviceArray)]
        self._device.submit(Step.on(self.name, arrays, lambda: self._launch(request, held)))

    def _request(self, grid: tuple[int, ...], block: tuple[int, ...], held: list[Any], shared_bytes: int) -> _Request:
        device = self._device
        return _Request(
            self._run,
            (ctypes.c_void_p * len(held))(*map(ctypes.addressof, held)),
            self._module,
            self._touch,
            grid,
            block,
            shared_bytes,
            SCHEDULES.index(device.schedule),
            device.seed,
            1 if build.SANITIZER else device.workers,
            device.poison,
        )

    def _launch(self, request: _Request, held: list[Any]) -> None:
        message = ctypes.create_string_buffer(512)
        if build.runtime().emu_launch(ctypes.byref(request), message, ctypes.c_size_t(len(message))):
            raise DeviceError(f"{self.name}: {message.value.decode()}")

    def _checked_sizes(
        self, grid: tuple[int, ...], block: tuple[int, ...], shared_bytes: int
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        for what, size, limits in (("grid", grid, _GRID_LIMITS), ("block", block, _BLOCK_LIMITS)):
            if not isinstance(size, tuple) or not 1 <= len(size) <= 3:
                raise KernelError(f"{self.name}: {what} must be a tuple of one to three numbers, got {size!r}")
            if any(not 1 <= n <= limit for n, limit in zip(size, limits, strict=False)):
                raise DeviceError(f"{self.name}: {what} {size} has to lie between 1 and {limits[: len(size)]}")
        if math.prod(block) > self.thread_limit:
            raise DeviceError(f"{self.name}: block {block} is over the {self.thread_limit} threads it is compiled for")
        if shared_bytes > self._device.max_shared_bytes:
            raise DeviceError(
                f"{self.name}: {shared_bytes} bytes of shared memory, the device has {self._device.max_shared_bytes}"
            )
        return tuple(map(int, (*grid, 1, 1)[:3])), tuple(map(int, (*block, 1, 1)[:3]))


class Module:
    """The kernels of one compiled source."""

    def __init__(self, device: "EmulatedCuda", source: str, file: str):
        self.file = file
        self._names = build.kernels(source)
        library = build.library(source, file, device.compute_capability)
        self._functions = {name: Function(device, library, name) for name in self._names}

    def function(self, name: str) -> Function:
        """The kernel called `name`; raises KernelError if there is none."""
        if name not in self._functions:
            raise KernelError(f'{self.file} has no `extern "C" __global__ void {name}`, only {sorted(self._functions)}')
        return self._functions[name]


def _bytes(value: Any) -> Any:
    """The bytes that the kernel's parameter is read from."""
    if value is None:
        return ctypes.c_void_p(0)
    if isinstance(value, DeviceArray):
        return ctypes.c_void_p(value.data.ptr)
    return ctypes.create_string_buffer(value.tobytes())
