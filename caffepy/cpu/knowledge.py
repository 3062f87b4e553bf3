"""What is known of a pass while its operations are translated: where values are, and what is still to come."""

from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray

from caffepy.blob.storage import SyncedArray
from caffepy.cpu.record import Operation, Place, Recorder
from caffepy.cpu.value import Value
from caffepy.device.onednn.handles import Layout, address, contiguous


class Knowledge:
    """Of the operations of a recorder, of which number `at` is next."""

    def __init__(self, recorder: Recorder, wanted: set[SyncedArray], *, keeps: bool = True) -> None:
        self.recorder, self._wanted = recorder, wanted
        self.keeps = keeps
        """Whether a backward pass may want what this one knows."""
        self.operations = recorder.operations
        self.at = 0
        """The number of the operation that is next."""
        self.values: dict[SyncedArray, Value] = {}

    # ---- arrays

    def layout(self, array: NDArray[Any], shape: Sequence[int] | None = None) -> Layout:
        """How the values lie now: packed if they are so, for that shape, else as NumPy has them."""
        shape = tuple(array.shape if shape is None else shape)
        value = self._whole(array)
        if value is not None:
            for found in (
                *(home.memory.layout for home in value.homes.values()),
                *(m.layout for m in value.copies.values()),
            ):
                if found.shape == shape:
                    return found
        return contiguous(shape)

    def form(self, array: NDArray[Any]) -> Layout:
        """How the values lie now: packed for whatever shape if they are so, else as NumPy has them."""
        value = self._whole(array)
        found = None if value is None else value.any_memory()
        return contiguous(tuple(array.shape)) if found is None else found.layout

    def constant(self, array: NDArray[Any]) -> bool:
        """Whether it is the same in every run unless somebody writes it: not written by the pass, or prepared."""
        value = self._value(array)
        return value is not None and (not value.written or value.prepared)

    def whole(self, array: NDArray[Any]) -> bool:
        """Whether it is all that the pass uses of a storage."""
        return self._whole(array) is not None

    def lent(self, array: NDArray[Any]) -> bool:
        """Whether others use the memory when the pass has ended, so that nobody asks for the array."""
        value = self._value(array)
        return value is not None and value.storage.lent is not None

    def stands(self, array: NDArray[Any]) -> bool:
        """Whether the array is as it is now when the pass has ended."""
        value = self._value(array)
        written = (
            self._value(argument)
            for operation in self.operations[self.at :]
            for argument, access in operation.arrays
            if access not in (None, "read")
        )
        return value is not None and value.storage.lent is None and all(found is not value for found in written)

    def private(self, array: NDArray[Any]) -> bool:
        """Whether nobody else looks at these values."""
        value = self._whole(array)
        return value is not None and value.storage.private

    def is_wanted(self, array: NDArray[Any]) -> bool:
        """Whether somebody was known to ask for the array, so that it must not be left out."""
        value = self._value(array)
        return value is None or value.storage in self._wanted

    def reader(self, array: NDArray[Any]) -> Callable[[], NDArray[Any]]:
        """Gives the array with the values that it has then."""
        place = self.recorder.place(array)
        if place is None:
            return lambda: array
        first = (address(array) - place.start) // array.itemsize
        storage, shape, last = place.storage, array.shape, first + array.size
        return lambda: storage.read_host(last)[first:last].reshape(shape)

    # ---- what comes next

    def following(self, name: str, **arrays: NDArray[Any]) -> Operation | None:
        """The next operation, which counts as done, if it is of that name and has these arrays for arguments."""
        if self.at == len(self.operations):
            return None
        operation = self.operations[self.at]
        if operation.name != name or any(address(operation[n]) != address(x) for n, x in arrays.items()):
            return None
        self.at += 1
        return operation

    def following_slope(self, top: NDArray[Any]) -> float | None:
        """The slope of a ReLU in place that comes next, and counts as done."""
        relu = self.following("relu_forward", bottom_data=top, top_data=top)
        return None if relu is None else float(relu.constants["negative_slope"])

    def dead(self, array: NDArray[Any], at: int) -> bool:
        """Whether operation `at` and those that follow overwrite the array's values before they read any."""
        value = self._value(array)
        for operation in self.operations[at:]:
            for argument, access in operation.arrays:
                if access is not None and value is self._value(argument):
                    return access == "overwrite"
        return True

    def _whole(self, array: NDArray[Any]) -> Value | None:
        place = self.recorder.place(array)
        return self._of(place) if place is not None and place.whole else None

    def _value(self, array: NDArray[Any]) -> Value | None:
        place = self.recorder.place(array)
        return None if place is None else self._of(place)

    def _of(self, place: Place) -> Value:
        if place.storage not in self.values:
            self.values[place.storage] = Value(place.storage, place.start)
        return self.values[place.storage]
