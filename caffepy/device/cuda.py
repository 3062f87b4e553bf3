"""A GPU as a device, through CuPy: memory, copies, compilation, launches, captured graphs."""

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from caffepy.device.cuda_errors import OPTIONS, OnGpu, why_not
from caffepy.device.cuda_order import Order, Stream
from caffepy.errors import DeviceError, KernelError

_DLPACK_CUDA = 2  # kDLCUDA: dlpack.h
_USUAL_CLOCK = 1_500_000  # kHz, where the driver tells none
_POOLED = 1 << 20  # bytes of page-locked memory that are rounded up to a power of two, and kept


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
        self._on, self._around = OnGpu(cupy, index, alone=True), OnGpu(cupy, index, alone=False)
        self._order = Order(cupy, index, self._on, self._around)
        self._uploads: deque[_Upload] = deque()
        self.title: str = cupy.cuda.runtime.getDeviceProperties(index)["name"].decode()
        self.compute_capability = int(self._device.compute_capability)
        self.multiprocessors: int = self._device.attributes["MultiProcessorCount"]
        lanes = 64 if self.compute_capability in (75, 80) else 128
        clock = self._device.attributes["ClockRate"] or _USUAL_CLOCK
        self.peak_flops = 2e3 * lanes * self.multiprocessors * clock
        self.max_shared_bytes: int = self._device.attributes["MaxSharedMemoryPerBlockOptin"]

    def zeros(self, count: int, dtype: DTypeLike) -> Any:
        """A new flat array of `count` zeros. Raises DeviceError where memory is out."""
        with self._order.outside_of_passes():
            try:
                array = self._cupy.zeros(count, dtype)
            except self._cupy.cuda.memory.OutOfMemoryError as error:
                wanted, free, total = (n / 2**20 for n in (count * np.dtype(dtype).itemsize, *self._device.mem_info))
                raise DeviceError(
                    f"GPU {self.index}: no room for {wanted:.1f} MiB, {free:.1f} of {total:.1f} MiB are free; "
                    "reshape the net to a smaller batch, or close other nets"
                ) from error
        return array

    def host_zeros(self, count: int, dtype: DTypeLike) -> NDArray[Any]:
        """A flat NumPy array of zeros, in page-locked memory while there is some."""
        dtype = np.dtype(dtype)
        size = max(1, count * dtype.itemsize)
        try:
            with self._on:
                if size > _POOLED:
                    memory = self._cupy.cuda.PinnedMemoryPointer(self._cupy.cuda.PinnedMemory(size), 0)
                else:
                    memory = self._cupy.cuda.alloc_pinned_memory(size)
        except DeviceError:  # copies from other memory are slower, and as right
            return np.zeros(count, dtype)
        array: NDArray[Any] = np.frombuffer(memory, dtype, count)
        array[...] = 0
        return array

    def fill(self, array: Any, value: float) -> None:
        """Every element = value."""
        with self._order.outside_of_passes():
            array.fill(value)

    def copy(self, source: Any, target: Any) -> None:
        """target = source."""
        with self._order.outside_of_passes():
            whole = source.flags.c_contiguous and target.flags.c_contiguous and source.nbytes == target.nbytes
            if whole and source.dtype == target.dtype:  # at a tenth of copyto's time on the host
                target.data.copy_from_device_async(source.data, source.nbytes)
            else:
                self._cupy.copyto(target, source.reshape(target.shape))

    def upload(self, host: NDArray[Any], to: Any) -> "_Upload":
        """to = host, which may be written to again when the `_Upload` is done."""
        with self._order.outside_of_passes():
            to.reshape(-1).set(host.reshape(-1))
            upload = _Upload(self._on, self._cupy.cuda.Event(disable_timing=True), host)
            upload.event.record()
            self._uploads.append(upload)
            self._forget_uploads()
        return upload

    def _forget_uploads(self) -> None:
        """Let go of the host's memory of those that are done."""
        with suppress(IndexError):  # another thread was quicker
            while self._uploads[0].event.done:
                self._uploads.popleft()

    def download(self, array: Any, to: NDArray[Any]) -> None:
        """to = array, complete when the call returns."""
        with self._order.outside_of_passes():
            array.reshape(-1).get(out=to.reshape(-1), blocking=True)
            self._forget_uploads()

    def compile(self, source: str, file: str) -> "_Module":
        """The kernels of `source`. Raises KernelError with the compiler's log."""
        with self._on:
            module = self._cupy.RawModule(code=source, options=OPTIONS)
            try:
                module.compile()
            except self._cupy.cuda.compiler.CompileException as error:
                if "gpu-architecture" in str(error):
                    raise
                raise KernelError(f"kernel file {file} does not compile: {error}") from error
        return _Module(self._on, module)

    def capture(self, body: Callable[[], object]) -> Any:
        """What `body` launches, copies and fills, as a CUDA graph."""
        with self._around:
            stream = self._cupy.cuda.get_current_stream()
            with self._on:
                stream.begin_capture()
            try:
                body()
            except BaseException:
                with suppress(DeviceError), self._on:  # the body's error tells more
                    stream.end_capture()
                raise
            with self._on:
                graph = stream.end_capture()
        return _Graph(self._on, self._cupy, graph)

    def synchronize(self) -> None:
        """Return when everything launched is done."""
        with self._on:
            self._device.synchronize()
            self._forget_uploads()

    def elapsed(self, body: Callable[[], None]) -> float:
        """Milliseconds between an event before and one after what `body` launches on the current stream."""
        with self._around:
            before, after = self._cupy.cuda.Event(), self._cupy.cuda.Event()
            before.record()
            body()
            after.record()
            after.synchronize()
            milliseconds: float = self._cupy.cuda.get_elapsed_time(before, after)
        return milliseconds

    def stream(self) -> Stream:
        """A stream that does not wait for the null stream."""
        return self._order.stream()

    def ordered(self, stream: Stream) -> AbstractContextManager[None]:
        """See Order.ordered."""
        return self._order.ordered(stream)

    def after_passes(self) -> None:
        """Let what comes on the current stream come after every pass so far."""
        self._order.after_passes()

    def is_array(self, value: object) -> bool:
        """Whether `value` is a CuPy array."""
        return isinstance(value, self._cupy.ndarray)

    def adopt(self, value: Any) -> Any:
        """`value` as a CuPy array without a copy: its own, or a tensor on this GPU by DLPack; None otherwise."""
        if isinstance(value, np.ndarray) or not (self.is_array(value) or hasattr(value, "__dlpack_device__")):
            return None
        if not self.is_array(value):
            kind, index = value.__dlpack_device__()
            if kind != _DLPACK_CUDA:
                return None
            self._check_index(index)
            with self._on:
                value = self._cupy.from_dlpack(value)
        self._check_index(value.device.id)
        return value

    def _check_index(self, index: int) -> None:
        if index != self.index:
            raise DeviceError(f"an array of GPU {index} was given to a net on GPU {self.index}; move it there")


class _Upload:
    """A copy from the host that may be under way; it keeps page-locked memory until then.

    It refers to no array, for these count as a script's views. Other memory has been read when the copy is asked for.
    """

    __slots__ = ("_memory", "_on", "event")

    def __init__(self, on: OnGpu, event: Any, host: NDArray[Any]) -> None:
        self._on, self.event = on, event
        memory: Any = host
        while isinstance(memory, np.ndarray):
            memory = memory.base
        self._memory = memory

    def wait(self) -> None:
        with self._on:
            self.event.synchronize()


class _Module:
    def __init__(self, on: OnGpu, module: Any) -> None:
        self._on, self._module = on, module

    def function(self, name: str) -> "_Function":
        with self._on:
            return _Function(self._on, self._module.get_function(name))


class _Function:
    def __init__(self, on: OnGpu, kernel: Any) -> None:
        self._on, self._kernel = on, kernel
        self._dynamic: int = kernel.max_dynamic_shared_size_bytes
        """What a launch may ask for without further ado."""

    def __call__(
        self, grid: tuple[int, ...], block: tuple[int, ...], args: Sequence[Any], shared_bytes: int = 0
    ) -> None:
        with self._on:
            if shared_bytes > self._dynamic:
                self._kernel.max_dynamic_shared_size_bytes = self._dynamic = shared_bytes
            given = tuple(np.uint64(0) if arg is None else arg for arg in args)
            self._kernel(grid, block, given, shared_mem=shared_bytes)


class _Graph:
    def __init__(self, on: OnGpu, cupy: Any, graph: Any) -> None:
        self._on, self._cupy, self._graph = on, cupy, graph

    def launch(self) -> None:
        with self._on:
            self._graph.launch(self._cupy.cuda.get_current_stream())
