"""MemoryData: batches out of arrays of the caller's."""

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from caffepy.blob import Arrays, Floats, Shape
from caffepy.layer import Layer, register

log = logging.getLogger("caffepy")


@register("MemoryData", bottoms=0, tops=2)
class MemoryData(Layer):
    """Nothing -> data (batch_size, channels, height, width), labels (batch_size): the next ones of the arrays that
    `Net.set_input_arrays` gave, from the start again behind the last (Caffe: memory_data_layer.cpp).
    """

    host = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.memory_data_param
        self.shape: Shape = p.batch_size, p.channels, p.height, p.width
        if min(self.shape) < 1:
            raise self.error(
                "give memory_data_param batch_size, channels, height and width of at least 1, got "
                + ", ".join(map(str, self.shape))
            )
        self._data: Floats | None = None
        self._labels: Floats | None = None
        self._next = 0

    def reset(self, data: ArrayLike, labels: ArrayLike) -> None:
        """Take batches from these arrays from now on, the first one first.

        data     (n, channels, height, width), n a multiple of batch_size; kept, not copied, if float32 and C-contiguous
        labels   n values of any shape, likewise

        Raises LayerError where they do not fit.
        """
        images, values = (np.ascontiguousarray(array, np.float32) for array in (data, labels))
        if images.shape[1:] != self.shape[1:] or images.ndim != 4:
            raise self.error(f"data of shape {images.shape}; give (n, {', '.join(map(str, self.shape[1:]))})")
        if len(images) == 0 or len(images) % self.shape[0]:
            raise self.error("first dimensions of input arrays must be a multiple of batch size").advise(
                f"{len(images)} images are no whole number of batches; batch_size is {self.shape[0]}"
            )
        if values.size != len(images):
            raise self.error("data and labels must have the same first dimension").advise(
                f"{values.size} labels for {len(images)} images; give one for each"
            )
        if self.param.HasField("transform_param"):
            log.warning("layer %r (MemoryData): transform_param is not applied to arrays set as inputs", self.name)
        self._data, self._labels, self._next = images, values.reshape(-1), 0

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        return [self.shape, self.shape[:1]]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        if self._data is None or self._labels is None:
            raise self.error("has no data yet; call net.set_input_arrays(data, labels) before forward")
        batch = slice(self._next, self._next + self.shape[0])
        top[0].data[...], top[1].data[...] = self._data[batch], self._labels[batch]
        self._next = batch.stop % len(self._data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        """There is nothing below."""
