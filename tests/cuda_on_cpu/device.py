"""The emulated GPU: caffepy.device's interface over kernels that run on the CPU."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from caffepy.errors import DeviceError, KernelError
from tests.cuda_on_cpu.array import DeviceArray, allocate
from tests.cuda_on_cpu.module import SCHEDULES, Module, Step


class Upload:
    """A copy from the host that may be under way."""

    def __init__(self, device: "EmulatedCuda"):
        self._device = device

    def wait(self) -> None:
        """Return when the host's memory may be written to."""
        self._device.catch_up()


class Graph:
    """What a body asked for while it was captured, in order."""

    def __init__(self, steps: list[Step], device: "EmulatedCuda"):
        self._steps = steps
        self._device = device

    def launch(self) -> None:
        """Do it all again, on the same arrays and with the same numbers."""
        self._device.refuse_while_capturing("launching a graph")
        for step in self._steps:
            self._device.submit(step)


class EmulatedCuda:
    """A device whose kernels run on the CPU, each device thread a fiber.

    schedule   the order in which a block's threads, and the blocks, take turns: a missing barrier may hide in one
    seed       of the "random" schedule
    poison     the byte that shared memory and fresh device memory are full of; 0xFF makes floats NaN, which
               fmaxf passes over, and 0x7F makes them huge
    workers    OS threads that share a launch's blocks
    late       nothing is done until somebody waits for it, as on the slowest GPU there could be
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
        late: bool = False,
    ):
        if schedule not in SCHEDULES:
            raise DeviceError(f"schedule {schedule!r}: it must be one of {', '.join(SCHEDULES)}")
        self.schedule, self.seed = schedule, seed
        self.compute_capability, self.poison, self.workers = compute_capability, poison, workers
        self._modules: dict[tuple[str, str, int], Module] = {}
        self._captured: list[Step] | None = None
        self._ordered = 0
        self._late, self._pending = late, deque[tuple[Step, list[Any]]]()

    def zeros(self, count: int, dtype: DTypeLike) -> DeviceArray:
        """A flat array of `count` zeros."""
        self.refuse_while_capturing("allocating")
        return allocate(count, dtype, None)

    def empty(self, count: int, dtype: DTypeLike) -> DeviceArray:
        """A flat array of `count` elements, poisoned until they are written."""
        self.refuse_while_capturing("allocating")
        return allocate(count, dtype, self.poison)

    def upload(self, host: NDArray[Any], to: DeviceArray) -> Upload:
        """to = host, of the same size and dtype."""
        self.refuse_while_capturing("uploading")
        _check_copy("upload", host, np.ndarray, to, DeviceArray)
        here, there = host.reshape(-1), to.host.reshape(-1)
        self.submit(Step.on("upload", [to], lambda: np.copyto(there, here)))
        return Upload(self)

    def download(self, array: DeviceArray, to: NDArray[Any]) -> None:
        """to = array, of the same size and dtype."""
        self.refuse_while_capturing("downloading")
        _check_copy("download", array, DeviceArray, to, np.ndarray)
        self.catch_up()
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
        """Return when everything is done."""
        self.refuse_while_capturing("synchronizing")
        self.catch_up()

    def capture(self, body: Callable[[], None]) -> Graph:
        """What `body` launches, copies and fills, recorded instead of done; inside of `ordered` only, as in CUDA."""
        self.refuse_while_capturing("capturing")
        if not self._ordered:
            raise DeviceError("a capture on the default stream is not possible; do it inside of ordered()")
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

    def after_passes(self) -> None:
        """There is one queue, and all is in order."""

    def stream(self) -> None:
        """There is no queue: launches are done when they return."""

    @contextmanager
    def ordered(self, stream: None) -> Iterator[None]:
        """Nothing to put in order, likewise."""
        self._ordered += 1
        try:
            yield
        finally:
            self._ordered -= 1

    def elapsed(self, body: Callable[[], None]) -> float:
        """Milliseconds of this machine that `body` takes: they say nothing about a GPU."""
        start = time.perf_counter()
        body()
        return 1e3 * (time.perf_counter() - start)

    def submit(self, step: Step) -> None:
        """Do it now, or when somebody waits; record it while capturing."""
        if self._captured is not None:
            self._captured.append(step)
        elif self._late:
            self._pending.append((step, [memory() for memory in step.memories]))  # it lives until then
        else:
            step.run()

    def catch_up(self) -> None:
        """Do what is pending, in order."""
        while self._pending:
            step, _memories = self._pending.popleft()
            step.run()

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
