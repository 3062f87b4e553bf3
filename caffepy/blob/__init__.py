"""Blobs: a shape over data and diff, and what a pass sees of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from caffepy import device
from caffepy.blob.halves import Format, Halves
from caffepy.blob.storage import Access, Floats, Ints, Shape, SyncedArray
from caffepy.errors import ArgumentError, StateError

__all__ = [
    "Access",
    "Arrays",
    "Blob",
    "BlobVec",
    "Floats",
    "HostArrays",
    "Ints",
    "Rows",
    "Shape",
    "SyncedArray",
    "Weights",
    "fit",
]


Weights = Annotated[Floats, Halves]
"""What a product multiplies by: numbers of single precision, or on a GPU rounded ones."""


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

    def halves(self, number_format: Format) -> Any:
        """The values on the running GPU, rounded to 16 bits."""
        return self._data.halves(math.prod(self.shape), number_format).reshape(self.shape)

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


@dataclass(frozen=True)
class Rows:
    """How many there are of what a blob has room for: along `axis`, behind axes of length 1, in memory of a GPU."""

    axis: int
    storage: SyncedArray
    """One whole number, which the pass writes that finds them."""

    def of(self, whole: Shape) -> Shape:
        """The shape of those that there are. Waits for the pass the first time that it is asked for."""
        return (*whole[: self.axis], int(self.storage.read_host(1)[0]), *whole[self.axis + 1 :])


class Blob:
    """A shape over two storages of float32, `data` and `diff`."""

    __slots__ = ("_rows", "_whole", "data_storage", "diff_storage")

    changes: ClassVar[int] = 0
    """How often any blob of the process has changed its shape."""

    def __init__(self, shape: Sequence[int] = ()):
        self._whole: Shape = tuple(shape)
        self._rows: Rows | None = None
        self.data_storage, self.diff_storage = SyncedArray(), SyncedArray()

    @property
    def shape(self) -> Shape:
        """One extent per axis."""
        return self._whole if self._rows is None else self._rows.of(self._whole)

    @property
    def whole(self) -> Shape:
        """The shape that passes work with: where `rows` are counted, with room for as many as there may be."""
        return self._whole

    @property
    def whole_count(self) -> int:
        """Number of elements of that shape."""
        return math.prod(self._whole)

    @property
    def rows(self) -> Rows | None:
        """Who knows how many rows of the whole there are, if not all of them."""
        return self._rows

    @property
    def count(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def data(self) -> Floats:
        """The values on the host: a live view of the blob's memory."""
        return self.data_storage.asked().host(self.count).reshape(self.shape)

    @property
    def diff(self) -> Floats:
        """The diffs on the host: a live view of the blob's memory, allocated on first use."""
        return self.diff_storage.asked().host(self.count).reshape(self.shape)

    def read(self) -> Floats:
        """The values on the host, to be looked at only: they stay up to date wherever else they are."""
        storage = self.data_storage.asked() if self.data_storage.lent else self.data_storage
        values: Floats = storage.read_host(self.count).reshape(self.shape)
        return values

    def glance(self) -> Floats:
        """The same for a moment: what is packed is unpacked into memory that nobody keeps."""
        storage = self.data_storage
        if storage.fresh or storage.gpu is not None:
            return self.read()
        values: Floats = storage.plain(self.count).copy()
        storage.homes[0].download(values)
        return values.reshape(self.shape)

    def read_diff(self) -> Floats:
        """The diffs on the host, likewise."""
        diffs: Floats = self.diff_storage.asked().read_host(self.count).reshape(self.shape)
        return diffs

    def reshape(self, *shape: int | Sequence[int]) -> None:
        """Give the blob another shape: `reshape(1, 3, 224, 224)` or `reshape((1, 3, 224, 224))`.

        Memory is kept when it suffices; what it held is then still there, in flat order.
        """
        extents: Any = shape[0] if len(shape) == 1 and np.ndim(shape[0]) == 1 else shape
        new: list[int] = []
        for extent in extents:
            if np.ndim(extent) or isinstance(extent, str) or int(extent) != extent or extent < 0:
                raise ArgumentError(f"reshape{shape}: every axis must be a whole number of at least 0")
            new.append(int(extent))
        self.resize(tuple(new), None)

    def resize(self, whole: Shape, rows: Rows | None) -> None:
        """Give the blob another shape, or room of that shape for rows that are counted."""
        if (whole, rows) != (self._whole, self._rows):
            self._whole, self._rows = whole, rows
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
        running = device.current()
        if isinstance(running, device.Cpu):
            raise StateError("gpu_data and gpu_diff need GPU mode: call set_mode_gpu() first, or use data and diff")
        running.after_passes()
        return storage.asked(on_gpu=True).array(self.count, "update").reshape(self.shape)

    def arrays(
        self,
        access: tuple[Access, Access] = ("read", "read"),
        diff_storage: SyncedArray | None = None,
        *,
        host: bool = False,
    ) -> Arrays:
        """What a layer gets in a pass; `diff_storage` takes the place of the blob's own diffs."""
        return (HostArrays if host else Arrays)(
            self._whole, self.data_storage, diff_storage or self.diff_storage, access
        )

    num = property(lambda self: self._legacy(0), doc="Extent of axis 0, or 1.")
    channels = property(lambda self: self._legacy(1), doc="Extent of axis 1, or 1.")
    height = property(lambda self: self._legacy(2), doc="Extent of axis 2, or 1.")
    width = property(lambda self: self._legacy(3), doc="Extent of axis 3, or 1.")

    def _legacy(self, axis: int) -> int:
        shape = self.shape
        if len(shape) > 4:
            raise ArgumentError(f"num, channels, height and width need at most 4 axes; the shape is {shape}")
        return shape[axis] if axis < len(shape) else 1

    def __repr__(self) -> str:
        return f"Blob{self.shape}"


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
