"""What a GPU offers: memory and copies, kernels and captured graphs; the CPU offers the memory."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from numpy.typing import DTypeLike, NDArray


class Memory(Protocol):
    """Arrays are flat and C-contiguous; `Any` stands for the device's own array type."""

    name: str

    def zeros(self, count: int, dtype: DTypeLike) -> Any:
        """A new flat array of `count` zeros."""

    def host_zeros(self, count: int, dtype: DTypeLike) -> NDArray[Any]:
        """A new flat NumPy array of `count` zeros that this device copies from and to fastest."""

    def fill(self, array: Any, value: float) -> None:
        """Every element = value."""

    def copy(self, source: Any, target: Any) -> None:
        """target = source, of the same size and dtype."""

    def is_array(self, value: object) -> bool:
        """Whether `value` is an array of this device."""


class Function(Protocol):
    """A compiled kernel."""

    def __call__(
        self, grid: tuple[int, ...], block: tuple[int, ...], args: Sequence[Any], shared_bytes: int = 0
    ) -> None:
        """Launch it. Arguments are device arrays, NumPy scalars of the parameter's very type, or None."""


class Module(Protocol):
    """A compiled kernel file."""

    def function(self, name: str) -> Function:
        """The `extern "C" __global__` function of that name."""


class Upload(Protocol):
    """A copy from the host that may be under way."""

    def wait(self) -> None:
        """Return when the host's memory may be written to."""


class Graph(Protocol):
    """Launches and copies, captured in order."""

    def launch(self) -> None:
        """Do them again, on the same arrays with the same numbers."""


class Gpu(Memory, Protocol):
    """A device with memory of its own that runs kernels."""

    title: str
    """The model's name, "NVIDIA H200"."""
    compute_capability: int
    """Times ten: 90 for Hopper."""
    peak_flops: float
    """Floating-point operations a second that it can do in float32 at its highest clock."""
    multiprocessors: int
    max_shared_bytes: int
    """Of a block."""

    def upload(self, host: NDArray[Any], to: Any) -> Upload:
        """to = host, which must stay as it is until the upload is over."""

    def download(self, array: Any, to: NDArray[Any]) -> None:
        """to = array, complete when the call returns."""

    def adopt(self, value: object) -> Any:
        """`value` as an array of this GPU without a copy: its own, or by DLPack; None where that is impossible."""

    def compile(self, source: str, file: str) -> Module:
        """The kernels of `source`; `file` is what errors name."""

    def capture(self, body: Callable[[], object]) -> Graph:
        """What `body` launches, copies and fills, recorded instead of done."""

    def after_passes(self) -> None:
        """Let what the caller does with arrays of this GPU come after every pass so far."""

    def stream(self) -> Any:
        """A queue of its own for launches and copies."""

    def ordered(self, stream: Any) -> AbstractContextManager[None]:
        """Run on `stream` what the block launches: after what the caller launched, before what the caller will."""

    def elapsed(self, body: Callable[[], None]) -> float:
        """Milliseconds between two events on the current stream, one before and one after what `body` launches."""

    def synchronize(self) -> None:
        """Return when everything launched is done."""
