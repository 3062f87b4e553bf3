"""Device memory and arrays in it, as strict about being touched from the host as a GPU's."""

import ctypes
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import DTypeLike, NDArray

from caffepy.errors import DeviceError
from tests.cuda_on_cpu import build


class Memory:
    """`nbytes` of device memory, given back when nothing refers to it any more."""

    def __init__(self, nbytes: int):
        self._free = build.runtime().emu_free
        self.address = build.runtime().emu_allocate(nbytes)
        if not self.address:
            raise DeviceError(f"out of device memory: {nbytes} bytes asked for")
        self.nbytes = nbytes

    def __del__(self) -> None:
        if getattr(self, "address", None):
            self._free(self.address)


class Pointer(NamedTuple):
    """What CuPy's `array.data` gives: the address of the first element."""

    ptr: int


class DeviceArray:
    """The part of cupy.ndarray that the product uses: always C-contiguous, no arithmetic, no way to the host."""

    __array_ufunc__ = None  # NumPy's operators refuse it instead of asking __array__

    def __init__(self, memory: Memory, host: NDArray[Any], base: "DeviceArray | None" = None):
        """An array in `memory`, whose bytes the emulated device sees as `host`, which does not own them.

        A part of another array keeps that one alive as its `base`, as CuPy's do.
        """
        self.memory, self.base = memory, base
        self.host = host
        self.data = Pointer(host.__array_interface__["data"][0])

    @property
    def shape(self) -> tuple[int, ...]:
        return self.host.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.host.dtype

    @property
    def size(self) -> int:
        return self.host.size

    @property
    def nbytes(self) -> int:
        return self.host.nbytes

    @property
    def ndim(self) -> int:
        return self.host.ndim

    @property
    def strides(self) -> tuple[int, ...]:
        return self.host.strides

    @property
    def flags(self) -> Any:
        return self.host.flags

    def reshape(self, *shape: Any) -> "DeviceArray":
        """The same elements in another shape."""
        return DeviceArray(self.memory, self.host.reshape(*shape), self.base or self)

    def __getitem__(self, index: slice) -> "DeviceArray":
        """A part along the first axis, in one piece: a[i:j]."""
        if not isinstance(index, slice) or index.step not in (None, 1):
            raise TypeError(f"a device array is cut as a[i:j] only, got the index {index!r}")
        return DeviceArray(self.memory, self.host[index], self.base or self)

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("a device array does not become a NumPy array by itself: download it")

    def __repr__(self) -> str:
        return f"DeviceArray(shape={self.shape}, dtype={self.dtype})"


def allocate(count: int, dtype: DTypeLike, poison: int | None) -> DeviceArray:
    """A flat array of `count` elements, every byte `poison`, or zeros for None."""
    kind = np.dtype(dtype)
    memory = Memory(count * kind.itemsize)
    raw = np.ctypeslib.as_array((ctypes.c_uint8 * memory.nbytes).from_address(memory.address))
    raw.fill(0 if poison is None else poison)
    return DeviceArray(memory, raw.view(kind))
