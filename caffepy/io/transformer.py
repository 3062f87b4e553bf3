"""Pictures to what a net takes, and back."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from caffepy.errors import ArgumentError, UnknownBlobError
from caffepy.io.pictures import Array
from caffepy.io.resizing import resize_image


class Transformer:
    """Pictures (height, width, channels) to net inputs (channels, height, width), and back.

    inputs: {input name: the input blob's shape}. What is not set is not done.
    """

    def __init__(self, inputs: Mapping[str, Sequence[int]]) -> None:
        self.inputs = inputs
        self.transpose: dict[str, Sequence[int]] = {}
        self.channel_swap: dict[str, Sequence[int]] = {}
        self.raw_scale: dict[str, float] = {}
        self.mean: dict[str, Array] = {}
        self.input_scale: dict[str, float] = {}

    def preprocess(self, in_: str, data: npt.ArrayLike) -> Array:
        """((resized, transposed, channels swapped) * raw_scale - mean) * input_scale, a new float32 array."""
        size = self._dims(in_)[2:]
        array: Array = np.array(data, dtype=np.float32)
        if array.shape[:2] != size:
            array = resize_image(array, size)
        if (order := self.transpose.get(in_)) is not None:
            array = self._transposed(in_, array, order)
        if (order := self.channel_swap.get(in_)) is not None:
            array = self._swapped(in_, array, order)
        if (scale := self.raw_scale.get(in_)) is not None:
            array *= np.float32(scale)
        if (mean := self.mean.get(in_)) is not None:
            array -= self._fitting(in_, mean, array)
        if (scale := self.input_scale.get(in_)) is not None:
            array *= np.float32(scale)
        return array

    def deprocess(self, in_: str, data: npt.ArrayLike) -> Array:
        """The picture whose preprocess is `data` (one input, with or without its batch axis), at data's size."""
        self._dims(in_)
        array: Array = np.array(data, dtype=np.float32).squeeze()
        transpose, swap, mean = self.transpose.get(in_), self.channel_swap.get(in_), self.mean.get(in_)
        if array.ndim == 2 and any(setting is not None for setting in (transpose, swap, mean)):
            array = array[np.newaxis]  # the channel axis of a grey picture
        if (scale := self.input_scale.get(in_)) is not None:
            array /= np.float32(scale)
        if mean is not None:
            array += self._fitting(in_, mean, array)
        if (scale := self.raw_scale.get(in_)) is not None:
            array /= np.float32(scale)
        if swap is not None:
            array = self._swapped(in_, array, np.argsort(_from_front(swap, len(swap))).tolist())
        if transpose is not None:
            array = self._transposed(in_, array, np.argsort(_from_front(transpose, len(transpose))).tolist())
        return array

    def set_transpose(self, in_: str, order: Sequence[int]) -> None:
        """Sets the order of the picture's axes in the input: (2, 0, 1) for height, width, channels pictures."""
        axes = len(self._dims(in_)) - 1
        if sorted(_from_front(order, axes)) != list(range(axes)):
            raise ArgumentError("Transpose order needs to have the same number of dimensions as the input.").advise(
                f"set_transpose: {order} does not order the {axes} axes of one item of input '{in_}': "
                f"give each of 0 to {axes - 1} once, (2, 0, 1) for pictures"
            )
        self.transpose[in_] = order

    def set_channel_swap(self, in_: str, order: Sequence[int]) -> None:
        """Sets the order of the channels (the first axis after the transpose): (2, 1, 0) makes RGB BGR."""
        channels = self._dims(in_)[1]
        numbers = _from_front(order, channels)
        if len(numbers) != channels or not set(numbers) <= set(range(channels)):
            message = "Channel swap needs to have the same number of dimensions as the input channels."
            raise ArgumentError(message).advise(
                f"set_channel_swap: {order} does not order the {channels} channels of input '{in_}': "
                f"give {channels} numbers of 0 to {channels - 1}"
            )
        self.channel_swap[in_] = order

    def set_raw_scale(self, in_: str, scale: float) -> None:
        """Sets the factor before the mean is subtracted: 255 for nets that take pictures in 0..255."""
        self._dims(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_: str, mean: npt.ArrayLike) -> None:
        """Sets what is subtracted: (channels,), (height, width) or (channels, height, width), resized to the input."""
        dims, values = self._dims(in_), np.asarray(mean)
        if values.dtype.kind not in "biuf":
            raise ArgumentError("Mean shape invalid").advise(
                f"set_mean: expected an array, found {mean!r}: give what the file holds, np.load(file), or of a "
                ".binaryproto io.blobproto_to_array(message)[0]"
            )
        values = values[:, np.newaxis, np.newaxis] if values.ndim == 1 else values
        channels = values.shape[0] if values.ndim == 3 else 1
        fits = channels == dims[1] or (channels == 1 and np.ndim(mean) == 3)
        if values.ndim not in (2, 3) or not values.size or len(dims) != 4 or not fits:
            wrong = "shape invalid" if np.ndim(mean) not in (1, 2, 3) else "channels incompatible with input."
            raise ArgumentError(f"Mean {wrong}").advise(
                f"set_mean: the mean's shape is {np.shape(mean)}, one item of input '{in_}' is {dims[1:]}: give "
                "a value per channel, such as mean.mean(1).mean(1), or a picture with the input's channels"
                + (", here mean[0]" if values.ndim == 4 and len(values) == 1 else "")
            )
        if any(have not in (1, want) for have, want in zip(values.shape[-2:], dims[2:], strict=True)):
            picture = values.reshape(channels, *values.shape[-2:]).transpose(1, 2, 0)
            values = resize_image(picture, dims[2:]).transpose(2, 0, 1)
        self.mean[in_] = values

    def set_input_scale(self, in_: str, scale: float) -> None:
        """Sets the factor after the mean is subtracted."""
        self._dims(in_)
        self.input_scale[in_] = scale

    def _dims(self, in_: str) -> tuple[int, ...]:
        if in_ not in self.inputs:
            raise UnknownBlobError(f"{in_} is not one of the net inputs: {self.inputs}").advise(
                f"'{in_}' is not one of this Transformer's inputs: they are {list(self.inputs)}"
            )
        return tuple(self.inputs[in_])

    def _transposed(self, in_: str, array: Array, order: Sequence[int]) -> Array:
        if array.ndim != len(order):
            raise ArgumentError(
                f"Transformer: input '{in_}' was given an array of shape {array.shape}, its transpose {tuple(order)} "
                f"needs {len(order)} axes: give one picture at a time, a grey one with a channel axis"
            )
        return array.transpose(order)

    def _swapped(self, in_: str, array: Array, order: Sequence[int]) -> Array:
        if array.ndim != 3 or max(order) >= array.shape[0]:
            raise ArgumentError(
                f"Transformer: input '{in_}' has the channel swap {tuple(order)}, the array to swap is of shape "
                f"{array.shape}, channels first: set_transpose first, and give a picture with that many channels"
            )
        swapped: Array = array[np.asarray(order)]
        return swapped

    def _fitting(self, in_: str, mean: Array, array: Array) -> Array:
        if any(have not in (1, want) for have, want in zip(mean.shape[::-1], array.shape[::-1], strict=False)):
            raise ArgumentError(
                f"Transformer: the mean of input '{in_}' is of shape {mean.shape}, the array of shape {array.shape}: "
                f"set_transpose to put channels first, or set a mean with a value per channel"
            )
        return mean


def _from_front(order: Sequence[int], length: int) -> list[int]:
    """An order's numbers, those below 0 counted from the end, as NumPy does; none for what holds no whole numbers."""
    numbers = np.asarray(order)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        return []
    return [int(number) + length * (number < 0) for number in numbers]
