"""A GPU that computes nothing and remembers what it was asked to launch.

with recording(90) as gpu:
    net = caffepy.Net(...)
    net.forward()
gpu.launches                # each kernel once for each source and block
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from caffepy import device
from tests.kernels.occupancy import MULTIPROCESSORS

COUNT = {75: 40, 80: 108, 86: 84, 89: 142, 90: 132, 100: 148, 120: 188}
"""Multiprocessors of a large GPU of each architecture: T4, A100, A40, L40S, H200, B200, RTX PRO 6000."""


@dataclass(frozen=True)
class Launched:
    """A kernel as it was launched."""

    file: str
    source: str
    """Constants, then the file's text."""
    entry: str
    threads: int
    """Of a block."""
    shared_bytes: int
    """Dynamic ones."""


class Pointer:
    """Another one for each array, and the same for its views."""

    @property
    def ptr(self) -> int:
        return id(self)


class Ghost:
    """An array without elements to look at."""

    class flags:
        c_contiguous = True

    strides = ()

    def __init__(self, shape: int | tuple[int, ...], dtype: DTypeLike, data: "Pointer | None" = None):
        self.data = data or Pointer()
        self._like = np.broadcast_to(np.empty((), dtype), shape)  # takes no memory
        self.shape, self.size, self.dtype = self._like.shape, self._like.size, self._like.dtype
        self.ndim = self._like.ndim

    def reshape(self, *shape: Any) -> "Ghost":
        return Ghost(self._like.reshape(*shape).shape, self.dtype, self.data)

    def __getitem__(self, index: slice) -> "Ghost":
        return Ghost(self._like[index].shape, self.dtype, self.data)


class Recorder:
    """A device.Gpu of one architecture."""

    name = title = "cuda"

    def __init__(self, arch: int):
        self.compute_capability, self.multiprocessors = arch, COUNT[arch]
        self.max_shared_bytes = MULTIPROCESSORS[arch].shared_bytes_of_a_block
        self.launches: dict[Launched, None] = {}

    def zeros(self, count: int, dtype: DTypeLike) -> Ghost:
        return Ghost(count, dtype)

    def host_zeros(self, count: int, dtype: DTypeLike) -> NDArray[Any]:
        return np.zeros(count, dtype)

    def fill(self, array: Ghost, value: float) -> None: ...

    def copy(self, source: Ghost, target: Ghost) -> None: ...

    def upload(self, host: NDArray[Any], to: Ghost) -> "_Upload":
        return _Upload()

    def download(self, array: Ghost, to: NDArray[Any]) -> None:
        to.fill(-1)  # what layers take for "nothing was wrong"

    def is_array(self, value: object) -> bool:
        return isinstance(value, Ghost)

    def adopt(self, value: object) -> Ghost | None:
        return value if isinstance(value, Ghost) else None

    def compile(self, source: str, file: str) -> "_Module":
        return _Module(self, source, file)

    def capture(self, body: Callable[[], None]) -> "_Graph":
        body()
        return _Graph()

    def stream(self) -> None: ...

    def ordered(self, stream: None) -> AbstractContextManager[None]:
        return nullcontext()

    def elapsed(self, body: Callable[[], None]) -> float:
        body()
        return 1.0

    def synchronize(self) -> None: ...


@dataclass(frozen=True)
class _Module:
    gpu: Recorder
    source: str
    file: str

    def function(self, name: str) -> Callable[..., None]:
        def launch(grid: tuple[int, ...], block: tuple[int, ...], args: Sequence[Any], shared_bytes: int = 0) -> None:
            launched = Launched(self.file, self.source, name, int(np.prod(block)), shared_bytes)
            self.gpu.launches.setdefault(launched)

        return launch


class _Upload:
    def wait(self) -> None: ...


class _Graph:
    def launch(self) -> None: ...


@contextmanager
def recording(arch: int) -> Iterator[Recorder]:
    """GPU mode on a Recorder of that architecture; afterwards CPU mode, and no emulation any more."""
    gpu = Recorder(arch)
    device.use(gpu)
    device.set_mode_gpu()
    try:
        yield gpu
    finally:
        device.use()
