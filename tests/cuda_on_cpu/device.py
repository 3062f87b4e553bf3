"""The emulated GPU: caffepy.device's interface over kernels that run on the CPU."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from caffepy.errors import DeviceError, KernelError
from tests.cuda_on_cpu.array import DeviceArray, allocate
from tests.cuda_on_cpu.module import SCHEDULES, Module, Step


class Graph:
    """What a body asked for while it was captured, in order."""

    def __init__(self, steps: list[Step], device: "EmulatedCuda"):
        self._steps = steps
        self._device = device

    def launch(self) -> None:
        """Do it all again, on the same arrays and with the same numbers."""
        self._device.refuse_while_capturing("launching a graph")
        for step in self._steps:
            step.run()


class EmulatedCuda:
    """A device whose kernels run on the CPU, each device thread a fiber.

    schedule   the order in which a block's threads, and the blocks, take turns: a missing barrier may hide in one
    seed       of the "random" schedule
    poison     the byte that shared memory and fresh device memory are full of; 0xFF makes floats NaN, which
               fmaxf passes over, and 0x7F makes them huge
    workers    OS threads that share a launch's blocks
    """

    name = "cuda"
    title = "emulated"
    multiprocessors = 4
    peak_flops = 1e9
    max_shared_bytes = 227 * 1024

    def __init__(
        self,
        schedule: str = "ascending",
        seed: int = 0,
        *,
        compute_capability: int = 90,
        poison: int = 0xFF,
        workers: int = 2,
    ):
        if schedule not in SCHEDULES:
            raise DeviceError(f"schedule {schedule!r}: it must be one of {', '.join(SCHEDULES)}")
        self.schedule, self.seed = schedule, seed
        self.compute_capability, self.poison, self.workers = compute_capability, poison, workers
        self._modules: dict[tuple[str, str, int], Module] = {}
        self._captured: list[Step] | None = None

    def zeros(self, count: int, dtype: DTypeLike) -> DeviceArray:
        """A flat array of `count` zeros."""
        self.refuse_while_capturing("allocating")
        return allocate(count, dtype, None)

    def empty(self, count: int, dtype: DTypeLike) -> DeviceArray:
        """A flat array of `count` elements, poisoned until they are written."""
        self.refuse_while_capturing("allocating")
        return allocate(count, dtype, self.poison)

    def upload(self, host: NDArray[Any], to: DeviceArray) -> None:
        """to = host, of the same size and dtype."""
        self.refuse_while_capturing("uploading")
        _check_copy("upload", host, np.ndarray, to, DeviceArray)
        to.host.reshape(-1)[...] = host.reshape(-1)

    def download(self, array: DeviceArray, to: NDArray[Any]) -> None:
        """to = array, of the same size and dtype."""
        self.refuse_while_capturing("downloading")
        _check_copy("download", array, DeviceArray, to, np.ndarray)
        to.reshape(-1)[...] = array.host.reshape(-1)

    def fill(self, array: DeviceArray, value: float) -> None:
        """Every element = value."""
        host = array.host  # not `array`: a step keeps no memory alive
        self.submit(Step.on("fill", [array], lambda: host.fill(value)))

    def copy(self, source: DeviceArray, target: DeviceArray) -> None:
        """target = source, of the same size and dtype."""
        _check_copy("copy", source, DeviceArray, target, DeviceArray)
        here, there = source.host.reshape(-1), target.host.reshape(-1)
        self.submit(Step.on("copy", [source, target], lambda: np.copyto(there, here)))

    def compile(self, source: str, file: str) -> Module:
        """The kernels of `source`, a kernel file's text with constants before and local includes written in."""
        self.refuse_while_capturing("compiling")
        key = (source, file, self.compute_capability)
        if key not in self._modules:
            self._modules[key] = Module(self, source, file)
        return self._modules[key]

    def synchronize(self) -> None:
        """Nothing is ever pending here."""
        self.refuse_while_capturing("synchronizing")

    def capture(self, body: Callable[[], None]) -> Graph:
        """What `body` launches, copies and fills, recorded instead of done."""
        self.refuse_while_capturing("capturing")
        steps: list[Step] = []
        self._captured = steps
        try:
            body()
        finally:
            self._captured = None
        return Graph(steps, self)

    def is_array(self, value: object) -> bool:
        """Whether `value` is an array of this device."""
        return isinstance(value, DeviceArray)

    def adopt(self, value: object) -> DeviceArray | None:
        """`value` if it is an array of this device, else None: nothing else lies in its memory."""
        return value if isinstance(value, DeviceArray) else None

    def host_zeros(self, count: int, dtype: DTypeLike) -> NDArray[Any]:
        """A flat host array of zeros."""
        return np.zeros(count, dtype)

    def stream(self) -> None:
        """There is no queue: launches are done when they return."""

    def ordered(self, stream: None) -> AbstractContextManager[None]:
        """Nothing to put in order, likewise."""
        return nullcontext()

    def elapsed(self, body: Callable[[], None]) -> float:
        """Milliseconds of this machine that `body` takes: they say nothing about a GPU."""
        start = time.perf_counter()
        body()
        return 1e3 * (time.perf_counter() - start)

    def submit(self, step: Step) -> None:
        """Do it now, or record it while capturing."""
        if self._captured is None:
            step.run()
        else:
            self._captured.append(step)

    def refuse_while_capturing(self, what: str) -> None:
        """Raises DeviceError inside a capture, which CUDA would invalidate."""
        if self._captured is not None:
            raise DeviceError(f"{what} is not possible during a capture; do it before")


def _check_copy(what: str, source: Any, source_kind: type[Any], target: Any, target_kind: type[Any]) -> None:
    """CuPy's strictness: nothing is converted, and what is not in one piece is not copied."""
    if not isinstance(source, source_kind) or not isinstance(target, target_kind):
        raise KernelError(
            f"{what}: it goes from {source_kind.__name__} to {target_kind.__name__}, "
            f"got {type(source).__name__} and {type(target).__name__}"
        )
    if source.dtype != target.dtype or source.size != target.size:
        raise KernelError(
            f"{what}: {source.size} elements of {source.dtype} do not fit {target.size} elements of {target.dtype}"
        )
    if not (source.flags.c_contiguous and target.flags.c_contiguous):
        raise KernelError(f"{what}: both sides must be C-contiguous")
