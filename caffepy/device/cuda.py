"""A GPU as a device, through CuPy: memory, copies, compilation, launches, captured graphs."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from caffepy.errors import DeviceError, KernelError

OPTIONS = ("-std=c++17",)
OLDEST = 75
"""Ten times the compute capability of the oldest GPUs the kernels are written for (Turing)."""


def why_not(index: int) -> str | None:
    """Why GPU `index` cannot be used; None where it can."""
    try:
        import cupy
    except ImportError as error:
        return f"CuPy cannot be imported ({error}); install caffepy[cuda13], or caffepy[cuda12] for an older driver"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"CUDA answers {error}; is there an NVIDIA GPU, and its driver installed?"
    if not 0 <= index < count:
        return f"there are {count} GPU(s), numbered from 0"
    capability = int(cupy.cuda.Device(index).compute_capability)
    if capability < OLDEST:
        return f"its compute capability is {capability / 10}, the kernels need {OLDEST / 10} or more"
    try:
        cupy.cuda.nvrtc.getVersion()
    except Exception as error:  # CuPy raises what its loader met
        return f"NVRTC, which compiles the kernels, cannot be loaded ({error}); install nvidia-cuda-nvrtc"
    return None


_DLPACK_CUDA = 2  # kDLCUDA: dlpack.h


class Cuda:
    """GPU `index`. Raises DeviceError, with the reason, where it cannot be used."""

    name = "cuda"

    def __init__(self, index: int = 0) -> None:
        if reason := why_not(index):
            raise DeviceError(f"GPU mode: GPU {index} cannot be used: {reason}")
        import cupy

        self._cupy = cupy
        self.index = index
        self._device = cupy.cuda.Device(index)
        self.title: str = cupy.cuda.runtime.getDeviceProperties(index)["name"].decode()
        self.compute_capability = int(self._device.compute_capability)
        self.multiprocessors: int = self._device.attributes["MultiProcessorCount"]
        lanes = 64 if self.compute_capability in (75, 80) else 128
        self.peak_flops = 2e3 * lanes * self.multiprocessors * self._device.attributes["ClockRate"]  # kHz
        self.max_shared_bytes: int = self._device.attributes["MaxSharedMemoryPerBlockOptin"]

    def zeros(self, count: int, dtype: DTypeLike) -> Any:
        """A new flat array of `count` zeros. Raises DeviceError where memory is out."""
        try:
            with self._device:
                return self._cupy.zeros(count, dtype)
        except self._cupy.cuda.memory.OutOfMemoryError as error:
            wanted, free, total = (n / 2**20 for n in (count * np.dtype(dtype).itemsize, *self._device.mem_info))
            raise DeviceError(
                f"GPU {self.index}: no room for {wanted:.1f} MiB, {free:.1f} of {total:.1f} MiB are free; "
                "reshape the net to a smaller batch, or close other nets"
            ) from error

    def host_zeros(self, count: int, dtype: DTypeLike) -> NDArray[Any]:
        """A flat NumPy array of zeros in pinned memory."""
        dtype = np.dtype(dtype)
        memory = self._cupy.cuda.alloc_pinned_memory(max(1, count * dtype.itemsize))
        array: NDArray[Any] = np.frombuffer(memory, dtype, count)
        array[...] = 0
        return array

    def fill(self, array: Any, value: float) -> None:
        """Every element = value."""
        with self._device:
            array.fill(value)

    def copy(self, source: Any, target: Any) -> None:
        """target = source."""
        with self._device:
            self._cupy.copyto(target, source.reshape(target.shape))

    def upload(self, host: NDArray[Any], to: Any) -> None:
        """to = host."""
        with self._device:
            to.reshape(-1).set(host.reshape(-1))

    def download(self, array: Any, to: NDArray[Any]) -> None:
        """to = array, complete when the call returns."""
        with self._device:
            array.reshape(-1).get(out=to.reshape(-1), blocking=True)

    def compile(self, source: str, file: str) -> "_Module":
        """The kernels of `source`. Raises KernelError with the compiler's log."""
        with self._device:
            module = self._cupy.RawModule(code=source, options=OPTIONS)
            try:
                module.compile()
            except self._cupy.cuda.compiler.CompileException as error:
                raise KernelError(f"kernel file {file} does not compile: {error}") from error
        return _Module(self, module)

    def launch(
        self, kernel: Any, grid: tuple[int, ...], block: tuple[int, ...], args: Sequence[Any], shared_bytes: int
    ) -> None:
        """Launch a CuPy kernel on the current stream."""
        with self._device:
            kernel(grid, block, tuple(np.uint64(0) if arg is None else arg for arg in args), shared_mem=shared_bytes)

    def capture(self, body: Callable[[], object]) -> Any:
        """What `body` launches, copies and fills, as a CUDA graph."""
        with self._device:
            stream = self._cupy.cuda.get_current_stream()
            stream.begin_capture()
            try:
                body()
            finally:
                graph = stream.end_capture()
        return _Graph(self, graph)

    def replay(self, graph: Any) -> None:
        """Launch a CuPy graph on the current stream."""
        with self._device:
            graph.launch(self._cupy.cuda.get_current_stream())

    def synchronize(self) -> None:
        """Return when everything launched is done."""
        with self._device:
            self._device.synchronize()

    def elapsed(self, body: Callable[[], None]) -> float:
        """Milliseconds between an event before and one after what `body` launches on the current stream."""
        with self._device:
            before, after = self._cupy.cuda.Event(), self._cupy.cuda.Event()
            before.record()
            body()
            after.record()
            after.synchronize()
            milliseconds: float = self._cupy.cuda.get_elapsed_time(before, after)
        return milliseconds

    def stream(self) -> "_Stream":
        """A new stream that does not wait for the default stream."""
        with self._device:
            return _Stream(self._cupy)

    @contextmanager
    def ordered(self, stream: "_Stream") -> Iterator[None]:
        """Run on `stream` what the block launches: after what the caller's streams hold now, before what comes later.

        The caller's streams are CuPy's current one, and PyTorch's where PyTorch is in use.
        """
        with self._device:
            callers = [self._cupy.cuda.get_current_stream(), *self._torch_stream()]
            for caller in callers:
                caller.record(stream.reached)
                stream.queue.wait_event(stream.reached)
            with stream.queue:
                yield
            stream.queue.record(stream.done)
            for caller in callers:
                caller.wait_event(stream.done)

    def _torch_stream(self) -> list[Any]:
        torch = sys.modules.get("torch")
        if torch is None or not torch.cuda.is_initialized():
            return []
        return [self._cupy.cuda.ExternalStream(torch.cuda.current_stream(self.index).cuda_stream)]

    def is_array(self, value: object) -> bool:
        """Whether `value` is a CuPy array."""
        return isinstance(value, self._cupy.ndarray)

    def adopt(self, value: Any) -> Any:
        """`value` as a CuPy array without a copy: its own, or a tensor on this GPU by DLPack; None otherwise."""
        if isinstance(value, np.ndarray) or not (self.is_array(value) or hasattr(value, "__dlpack_device__")):
            return None
        if not self.is_array(value):
            kind, index = value.__dlpack_device__()
            if (kind, index) != (_DLPACK_CUDA, self.index):
                return None
            with self._device:
                value = self._cupy.from_dlpack(value)
        if value.device.id != self.index:
            raise DeviceError(
                f"an array of GPU {value.device.id} was given to a net on GPU {self.index}; move it there"
            )
        return value


class _Stream:
    """A queue, and the events that order it against its callers' queues: made once, recorded at every pass."""

    def __init__(self, cupy: Any) -> None:
        self.queue = cupy.cuda.Stream(non_blocking=True)
        self.reached, self.done = (cupy.cuda.Event(disable_timing=True) for _ in range(2))


class _Module:
    def __init__(self, device: Cuda, module: Any) -> None:
        self._device, self._module = device, module

    def function(self, name: str) -> "_Function":
        return _Function(self._device, self._module.get_function(name))


class _Function:
    def __init__(self, device: Cuda, kernel: Any) -> None:
        self._device, self._kernel = device, kernel
        self._dynamic = 48 * 1024  # what a launch may ask for without further ado

    def __call__(
        self, grid: tuple[int, ...], block: tuple[int, ...], args: Sequence[Any], shared_bytes: int = 0
    ) -> None:
        if shared_bytes > self._dynamic:
            self._kernel.max_dynamic_shared_size_bytes = self._dynamic = shared_bytes
        self._device.launch(self._kernel, grid, block, args, shared_bytes)


class _Graph:
    def __init__(self, device: Cuda, graph: Any) -> None:
        self._device, self._graph = device, graph

    def launch(self) -> None:
        self._device.replay(self._graph)
