"""What CuPy raises, as the project's errors that say what to do; and why a GPU cannot be used."""

from types import TracebackType
from typing import Any

from caffepy.errors import CaffeError, DeviceError

OPTIONS = ("-std=c++17",)
OLDEST = 75
"""Ten times the compute capability of the oldest GPUs the kernels are written for (Turing)."""

_EXTRAS = "install caffepy[cuda13], or caffepy[cuda12] for an older driver"
_EMPTY = 'extern "C" __global__ void empty() {}'
_ADVICE = (
    (
        ("NO_BINARY", "INVALID_IMAGE", "PTX", "NoKernelImage", "gpu-architecture"),
        "NVRTC is too old for this GPU: install a newer nvidia-cuda-nvrtc",
    ),
    (("nvrtc", "NVRTC"), "NVRTC, which compiles the kernels, cannot be loaded: " + _EXTRAS),
    (("header", "include", "CUDA path", "CUDA root", "CUDA_PATH"), "CuPy finds no CUDA headers: " + _EXTRAS),
    (("InsufficientDriver", "DRIVER_MISMATCH"), "the driver is older than CuPy's CUDA: update it, or " + _EXTRAS),
    (("NoDevice", "NO_DEVICE", "libcuda.so"), "is there an NVIDIA GPU, and its driver installed?"),
    (("MemoryAllocation", "OUT_OF_MEMORY", "ut of memory"), "memory is out: close other nets and programs that use it"),
    (
        ("IllegalAddress", "ILLEGAL_ADDRESS", "LaunchFailure", "LAUNCH_FAILED", "Misaligned", "MISALIGNED"),
        "a kernel failed, and this process gets nothing more from CUDA: start it anew, and report what it ran",
    ),
)
"""What a message has in it, and what to do then."""
_OTHERWISE = "where `caffepy device-query` finds nothing amiss, please report it"


def advice(error: BaseException) -> str:
    """What to do about what CuPy raised."""
    message = f"{type(error).__name__}: {error}"
    return next((words for signs, words in _ADVICE if any(sign in message for sign in signs)), _OTHERWISE)


def stay_on(cuda: Any, index: int) -> None:
    """Make that GPU the current one of a thread that has used none, as Caffe's set_device does.

    Otherwise CuPy would come back from it to GPU 0, and CUDA take hundreds of MiB there for a context.
    """
    if index and not cuda.driver.ctxGetCurrent():
        cuda.runtime.setDevice(index)


def answer(error: BaseException) -> str:
    """What CUDA or CuPy said, in its first line, and what to do."""
    return f"CUDA answers {(str(error).splitlines() or [type(error).__name__])[0]}; {advice(error)}"


class OnGpu:
    """`with on_gpu:` runs on that GPU; what CUDA answers inside comes out as DeviceError.

    alone   CuPy alone runs inside, whose other errors come out so, too
    """

    def __init__(self, cupy: Any, index: int, *, alone: bool) -> None:
        self._device, self._index, self._cuda = cupy.cuda.Device(index), index, cupy.cuda
        self._foreign: tuple[type[BaseException], ...] = (
            *(self._cuda.runtime.CUDARuntimeError, self._cuda.driver.CUDADriverError, self._cuda.nvrtc.NVRTCError),
            *(self._cuda.memory.OutOfMemoryError, self._cuda.compiler.CompileException),
            *((RuntimeError, OSError, ImportError) if alone else ()),
        )

    def __enter__(self) -> None:
        try:
            stay_on(self._cuda, self._index)
            self._device.__enter__()
        except self._foreign as error:
            raise self._ours(error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._device.__exit__(kind, error, trace)
        except self._foreign as later:
            error = error or later
        if isinstance(error, self._foreign) and not isinstance(error, CaffeError):
            raise self._ours(error) from error

    def _ours(self, error: BaseException) -> DeviceError:
        return DeviceError(f"GPU {self._index}: {answer(error)}")


def why_not(index: int) -> str | None:
    """Why GPU `index` cannot be used; None where it can: an empty kernel has been compiled for it, and has run."""
    try:
        import cupy
    except ImportError as error:
        return f"CuPy cannot be imported ({error}); {_EXTRAS}"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
        if not 0 <= index < count:
            return f"there are {count} GPU(s), numbered from 0"
        stay_on(cupy.cuda, index)
        capability = int(cupy.cuda.Device(index).compute_capability)
        if capability < OLDEST:
            return f"its compute capability is {capability / 10}, the kernels need {OLDEST / 10} or more"
        with cupy.cuda.Device(index):
            cupy.RawModule(code=_EMPTY, options=OPTIONS).get_function("empty")((1,), (1,), ())
            cupy.cuda.get_current_stream().synchronize()
    except Exception as error:  # CuPy raises what its loaders and compilers met
        return answer(error) if _driver(cupy) else "no NVIDIA driver is installed here; is there an NVIDIA GPU?"
    return None


def _driver(cupy: Any) -> int:
    """The version of CUDA that the driver offers; 0 where there is none."""
    try:
        version: int = cupy.cuda.runtime.driverGetVersion()
    except cupy.cuda.runtime.CUDARuntimeError:
        return 0
    return version
