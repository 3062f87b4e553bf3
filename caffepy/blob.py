"""Storage that grows, and blobs: a shape over data and diff."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from caffepy import device
from caffepy.errors import ArgumentError

Shape = tuple[int, ...]
Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


class SyncedArray:
    """Flat storage of one dtype: allocated on first use, zero until written, kept when less is asked for."""

    __slots__ = ("_array", "dtype", "generation")

    def __init__(self, dtype: DTypeLike = np.float32):
        self.dtype = dtype
        self.generation = 0
        """How often the memory has been new."""
        self._array: NDArray[Any] | None = None

    def array(self, count: int) -> NDArray[Any]:
        """The first `count` elements on the running device; growing starts from zeros again, as in Caffe."""
        if self._array is None or self._array.size < count:
            self._array = device.current().zeros(count, self.dtype)
            self.generation += 1
        return self._array[:count]


class Arrays:
    """What a layer sees of a blob during a pass: `data` and `diff`, of the blob's shape, on the running device."""

    __slots__ = ("_data", "_diff", "shape")

    def __init__(self, shape: Shape, data: SyncedArray, diff: SyncedArray):
        self.shape, self._data, self._diff = shape, data, diff

    @property
    def data(self) -> Any:
        """The values."""
        return self._data.array(math.prod(self.shape)).reshape(self.shape)

    @property
    def diff(self) -> Any:
        """The diffs, allocated on first use."""
        return self._diff.array(math.prod(self.shape)).reshape(self.shape)


class Blob:
    """A shape over two storages of float32, `data` and `diff`."""

    __slots__ = ("_shape", "data_storage", "diff_storage")

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
        """The values: a live view of the blob's memory."""
        return self.data_storage.array(self.count).reshape(self._shape)

    @property
    def diff(self) -> Floats:
        """The diffs: a live view of the blob's memory, allocated on first use."""
        return self.diff_storage.array(self.count).reshape(self._shape)

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
        self._shape = tuple(new)

    def share_data(self, other: "Blob") -> None:
        """Use `other`'s data memory as this blob's."""
        self.data_storage = other.data_storage

    def share_diff(self, other: "Blob") -> None:
        """Use `other`'s diff memory as this blob's."""
        self.diff_storage = other.diff_storage

    def arrays(self, diff_storage: SyncedArray | None = None) -> Arrays:
        """What a layer gets in a pass; `diff_storage` takes the place of the blob's own diffs."""
        return Arrays(self._shape, self.data_storage, diff_storage or self.diff_storage)

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


def fit(value: Any, shape: Shape, what: str) -> Floats:
    """`value` as float32 of `shape`: shapes must agree without their axes of length 1, or broadcast as NumPy does.

    Raises ArgumentError, which begins with `what`; equal element counts alone are never enough.
    """
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise ArgumentError(f"{what}: must be an array of real numbers, got dtype {array.dtype}")
    array = array.astype(np.float32, copy=False)
    if array.shape == shape:
        return array
    if [n for n in array.shape if n != 1] == [n for n in shape if n != 1]:
        return array.reshape(shape)
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise ArgumentError(
            f"{what}: shape {array.shape} does not fit {shape}; give that shape (axes of length 1 may be added or left "
            "out), or one that broadcasts to it"
        ) from None
