"""Storage that grows, and blobs: a shape over data and diff."""

import math
import sys
import threading
import weakref
from collections.abc import Sequence
from types import TracebackType
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from caffepy import device
from caffepy.errors import ArgumentError, DeviceError, StateError

Shape = tuple[int, ...]
Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


Access = Literal["read", "update", "overwrite"]
"""What a pass does to an array."""

_local = threading.local()


class _Alone:
    __slots__ = ("array",)

    def __init__(self) -> None:
        self.array = np.empty(0)


_alone = _Alone()
_OWN_REFERENCES = sys.getrefcount(_alone.array)
"""Of an array that nothing but an attribute refers to."""


class SyncedArray:
    """Flat storage of one dtype on the host, on a GPU or on both: made on first use, zero until written.

    It knows which copy is newer and moves it when the other is asked for. Capacity is kept when less is asked for;
    growing starts from zeros again, as in Caffe.
    """

    __slots__ = ("_capacity", "_gpu", "_gpu_array", "_host", "_newer", "_watchers", "dtype", "generation", "places")

    def __init__(self, dtype: DTypeLike = np.float32):
        self.dtype = dtype
        self.generation = 0
        """How often the memory has started from zeros."""
        self.places = 0
        """How often the GPU's copy has lost its place."""
        self._capacity = 0
        self._host: NDArray[Any] | None = None
        self._gpu: device.Gpu | None = None
        self._gpu_array: Any = None
        self._newer: Literal["host", "gpu", "neither"] = "neither"
        self._watchers: weakref.WeakSet[Trace] | None = None

    @property
    def on_host(self) -> bool:
        """Whether the host has a copy."""
        return self._host is not None

    def host(self, count: int, access: Access = "update") -> NDArray[Any]:
        """The first `count` elements on the host; unless they are only read, this copy is the newer from now on."""
        if access == "overwrite" and self._newer == "gpu":
            self._newer = "neither"
        array = self.read_host(count)
        if access != "read" and self._newer != "host":
            self._newer = "host"
            self._tell()
        return array

    def read_host(self, count: int) -> NDArray[Any]:
        """The first `count` elements on the host, for reading only."""
        self._reserve(count)
        if self._host is None:
            self._host = device.current().host_zeros(self._capacity, self.dtype)
        if self._newer == "gpu":
            assert self._gpu is not None
            self._gpu.download(self._gpu_array, self._host)
            self._newer = "neither"
            self._tell()
        return self._host[:count]

    def array(self, count: int, access: Access = "read") -> Any:
        """The first `count` elements on the running device.

        "read" and "update" bring them up to date, "update" and "overwrite" make this copy the newer.
        """
        running = device.current()
        if isinstance(running, device.Cpu):
            return self.host(count)
        self.ready(running, count, access)
        if (trace := getattr(_local, "trace", None)) is not None:
            trace.note(self, count, access)
        return self._gpu_array[:count]

    def ready(self, gpu: device.Gpu, count: int, access: Access) -> None:
        """What `array` does before it hands out memory on `gpu`."""
        self._reserve(count)
        if self._gpu is not gpu or self._newer == "host":
            self._move_to(gpu, count, upload=access != "overwrite")
        if access != "read":
            self._newer = "gpu"

    def put(self, value: Any) -> None:
        """Write an array of the host or of the running device to the first elements."""
        if isinstance(value, np.ndarray):
            np.copyto(self.host(value.size).reshape(value.shape), value)
        else:
            device.current().copy(value, self.array(value.size, "overwrite").reshape(value.shape))

    def expect_writes(self) -> None:
        """Take the host's copy for the newer if a view of it is alive: scripts keep one and write to it."""
        if self._newer == "neither" and self._host is not None and sys.getrefcount(self._host) > _OWN_REFERENCES:
            self._newer = "host"
            self._tell()

    def watch(self, trace: "Trace") -> None:
        """Add this storage to `trace.touched` whenever a replay of the pass would not find it as it was left."""
        if self._watchers is None:
            self._watchers = weakref.WeakSet()
        self._watchers.add(trace)

    def _tell(self) -> None:
        for trace in self._watchers or ():
            trace.touched.add(self)

    def _reserve(self, count: int) -> None:
        if count > self._capacity or self.generation == 0:
            self._capacity = count
            self._host = self._gpu_array = self._gpu = None
            self._newer = "neither"
            self.generation += 1
            self.places += 1
            self._tell()

    def _move_to(self, gpu: device.Gpu, count: int, *, upload: bool) -> None:
        if self._gpu is not gpu:
            if self._gpu is not None and self._newer == "gpu":
                self.read_host(self._capacity)
            if self._host is not None:
                self._newer = "host"
            self._gpu, self._gpu_array = gpu, self._gpu_zeros(gpu, count)
            self.places += 1
            self._tell()
        if self._newer == "host" and upload:
            assert self._host is not None
            gpu.upload(self._host, self._gpu_array)
            self._newer = "neither"

    def _gpu_zeros(self, gpu: device.Gpu, count: int) -> Any:
        """Memory for the whole capacity, or if the GPU has no room for that, for what is asked for."""
        try:
            return gpu.zeros(self._capacity, self.dtype)
        except DeviceError:
            if count == self._capacity:
                raise
        array = gpu.zeros(count, self.dtype)
        self._capacity = count
        self._host = None if self._host is None else self._host[:count]
        return array


class Trace:
    """Which storages a pass on a GPU uses, and how: `with trace:` around it."""

    def __init__(self) -> None:
        self.used: dict[SyncedArray, tuple[int, Access]] = {}
        self.touched: set[SyncedArray] = set()
        """Those used that are no longer as the pass left them."""
        self._places: dict[SyncedArray, int] = {}

    def __enter__(self) -> None:
        _local.trace = self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        _local.trace = None
        for storage in self.used:
            self._places[storage] = storage.places
            storage.watch(self)

    def note(self, storage: SyncedArray, count: int, access: Access) -> None:
        """One use; the first says whether old values are needed, any whether new ones are written."""
        most, before = self.used.get(storage, (0, access))
        merged: Access = "update" if before == "read" and access != "read" else before
        self.used[storage] = max(most, count), merged

    def stands(self) -> bool:
        """Whether every storage's memory on the GPU is still where it was."""
        return all(self._places[storage] == storage.places for storage in tuple(self.touched))

    def ready(self, gpu: device.Gpu) -> None:
        """Bring up to date what the pass reads, mark what it writes, as the pass itself would."""
        touched, self.touched = self.touched, set()
        for storage in touched:
            storage.ready(gpu, *self.used[storage])


class Arrays:
    """What a layer sees of a blob during a pass: `data` and `diff`, of the blob's shape, on the running device."""

    __slots__ = ("_access", "_data", "_diff", "shape")

    def __init__(
        self, shape: Shape, data: SyncedArray, diff: SyncedArray, access: tuple[Access, Access] = ("read", "read")
    ):
        self.shape, self._data, self._diff, self._access = shape, data, diff, access

    def blob(self) -> "Blob":
        """A blob of this shape on the same memory."""
        view = Blob(self.shape)
        view.data_storage, view.diff_storage = self._data, self._diff
        return view

    @property
    def data(self) -> Any:
        """The values."""
        return self._data.array(math.prod(self.shape), self._access[0]).reshape(self.shape)

    @property
    def diff(self) -> Any:
        """The diffs, allocated on first use."""
        return self._diff.array(math.prod(self.shape), self._access[1]).reshape(self.shape)


class HostArrays(Arrays):
    """The same on the host, whichever device is running."""

    __slots__ = ()

    @property
    def data(self) -> Any:
        """The values."""
        return self._data.host(math.prod(self.shape), self._access[0]).reshape(self.shape)

    @property
    def diff(self) -> Any:
        """The diffs, allocated on first use."""
        return self._diff.host(math.prod(self.shape), self._access[1]).reshape(self.shape)


class Blob:
    """A shape over two storages of float32, `data` and `diff`."""

    __slots__ = ("_shape", "data_storage", "diff_storage")

    changes: ClassVar[int] = 0
    """How often any blob of the process has changed its shape."""

    def __init__(self, shape: Sequence[int] = ()):
        self._shape: Shape = tuple(shape)
        self.data_storage, self.diff_storage = SyncedArray(), SyncedArray()

    @property
    def shape(self) -> Shape:
        """One extent per axis."""
        return self._shape

    @property
    def count(self) -> int:
        """Number of elements."""
        return math.prod(self._shape)

    @property
    def data(self) -> Floats:
        """The values on the host: a live view of the blob's memory."""
        return self.data_storage.host(self.count).reshape(self._shape)

    @property
    def diff(self) -> Floats:
        """The diffs on the host: a live view of the blob's memory, allocated on first use."""
        return self.diff_storage.host(self.count).reshape(self._shape)

    def reshape(self, *shape: int | Sequence[int]) -> None:
        """Give the blob another shape: `reshape(1, 3, 224, 224)` or `reshape((1, 3, 224, 224))`.

        Memory is kept when it suffices; what it held is then still there, in flat order.
        """
        extents = shape[0] if len(shape) == 1 and isinstance(shape[0], Sequence) else shape
        new: list[int] = []
        for extent in extents:
            if isinstance(extent, Sequence) or int(extent) != extent or extent < 0:
                raise ArgumentError(f"reshape{shape}: every axis must be a whole number of at least 0")
            new.append(int(extent))
        if tuple(new) != self._shape:
            self._shape = tuple(new)
            Blob.changes += 1

    def share_data(self, other: "Blob") -> None:
        """Use `other`'s data memory as this blob's."""
        self.data_storage = other.data_storage

    def share_diff(self, other: "Blob") -> None:
        """Use `other`'s diff memory as this blob's."""
        self.diff_storage = other.diff_storage

    @property
    def gpu_data(self) -> Any:
        """The values on the GPU, as its own array type, without a copy where they are there already.

        Whoever asks may write. Raises StateError in CPU mode.
        """
        return self._on_gpu(self.data_storage)

    @property
    def gpu_diff(self) -> Any:
        """The diffs on the GPU, likewise."""
        return self._on_gpu(self.diff_storage)

    @property
    def _gpu_data_ptr(self) -> int:
        """The address of `gpu_data`, as pycaffe gives it to other CUDA libraries."""
        return int(self.gpu_data.data.ptr)

    @property
    def _gpu_diff_ptr(self) -> int:
        return int(self.gpu_diff.data.ptr)

    def _on_gpu(self, storage: SyncedArray) -> Any:
        if isinstance(device.current(), device.Cpu):
            raise StateError("gpu_data and gpu_diff need GPU mode: call set_mode_gpu() first, or use data and diff")
        return storage.array(self.count, "update").reshape(self._shape)

    def arrays(
        self,
        access: tuple[Access, Access] = ("read", "read"),
        diff_storage: SyncedArray | None = None,
        *,
        host: bool = False,
    ) -> Arrays:
        """What a layer gets in a pass; `diff_storage` takes the place of the blob's own diffs."""
        return (HostArrays if host else Arrays)(
            self._shape, self.data_storage, diff_storage or self.diff_storage, access
        )

    num = property(lambda self: self._legacy(0), doc="Extent of axis 0, or 1.")
    channels = property(lambda self: self._legacy(1), doc="Extent of axis 1, or 1.")
    height = property(lambda self: self._legacy(2), doc="Extent of axis 2, or 1.")
    width = property(lambda self: self._legacy(3), doc="Extent of axis 3, or 1.")

    def _legacy(self, axis: int) -> int:
        if len(self._shape) > 4:
            raise ArgumentError(f"num, channels, height and width need at most 4 axes; the shape is {self._shape}")
        return self._shape[axis] if axis < len(self._shape) else 1

    def __repr__(self) -> str:
        return f"Blob{self._shape}"


class BlobVec(list[Blob]):
    """A layer's weights, as pycaffe lists them."""

    def add_blob(self, *shape: int) -> None:
        """Add one of that shape, zero at first."""
        self.append(Blob(shape))


def fit(value: Any, shape: Shape, what: str) -> Any:
    """`value` as float32 of `shape`: shapes must agree without their axes of length 1, or broadcast as NumPy does.

    In GPU mode an array of the GPU, or what it can take over by DLPack, stays there; it must be float32 and
    C-contiguous, and is not broadcast. Raises ArgumentError, which begins with `what`; equal element counts alone are
    never enough.
    """
    running = device.current()
    if not isinstance(running, device.Cpu) and (array := running.adopt(value)) is not None:
        if array.dtype != np.float32 or not array.flags.c_contiguous:
            raise ArgumentError(f"{what}: an array on the GPU must be C-contiguous float32, got {array.dtype}")
        if _without_ones(array.shape) != _without_ones(shape):
            raise ArgumentError(f"{what}: shape {array.shape} does not fit {shape}; give that shape")
        return array.reshape(shape)
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise ArgumentError(f"{what}: must be an array of real numbers, got dtype {array.dtype}")
    array = array.astype(np.float32, copy=False)
    if _without_ones(array.shape) == _without_ones(shape):
        return array.reshape(shape)
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise ArgumentError(
            f"{what}: shape {array.shape} does not fit {shape}; give that shape (axes of length 1 may be added or left "
            "out), or one that broadcasts to it"
        ) from None


def _without_ones(shape: Shape) -> list[int]:
    return [extent for extent in shape if extent != 1]
