"""MemoryData: batches out of arrays of the caller's."""

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from caffepy.blob import Arrays, Floats, Shape
from caffepy.data.records import channels_first, datum_values
from caffepy.data.transform import DataTransformer, Values
from caffepy.layer import Layer, register
from caffepy.layers.data.prefetching import color_of, write
from caffepy.proto.caffe_pb2 import Datum

log = logging.getLogger("caffepy")


@register("MemoryData", bottoms=0, tops=2)
class MemoryData(Layer):
    """Nothing -> data (batch_size, channels, height, width), labels (batch_size, 1, 1, 1): the next ones of the arrays
    that `Net.set_input_arrays` gave, from the start again behind the last (Caffe: memory_data_layer.cpp).

    Before the first pass the labels' shape is (batch_size), as in Caffe.
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
        with self.named():
            self.transformer = DataTransformer(self.param.transform_param, self.phase)
        self.transformer.seed()
        self._data: Floats | None = None
        self._labels: Floats | None = None
        self._next = 0

    def reset(self, data: ArrayLike, labels: ArrayLike) -> None:
        """Take batches from these arrays from now on, the first one first.

        data     (n, channels, height, width), n a multiple of batch_size; kept, not copied, if float32 and C-contiguous
        labels   n values of any shape, likewise

        Raises LayerError where they do not fit.
        """
        if self.param.HasField("transform_param"):
            log.warning("layer %r (MemoryData): transform_param is not applied to arrays set as inputs", self.name)
        self._take(*(np.ascontiguousarray(array, np.float32) for array in (data, labels)))

    def add_datum_vector(self, datums: Sequence[Datum]) -> None:
        """Take batches from these messages from now on, transformed as transform_param says.

        Raises LayerError where they do not fit, DataError for one that is damaged.
        """
        color = color_of(self.param)
        values = [datum_values(datum, f"Datum {i}", color) for i, datum in enumerate(datums)]
        self._add(values, [datum.label for datum in datums])

    def add_mat_vector(self, pictures: Sequence[ArrayLike], labels: Sequence[int]) -> None:
        """Take batches from these uint8 pictures, (height, width[, channels]) as OpenCV reads them, transformed."""
        arrays = [np.asarray(picture) for picture in pictures]
        for i, array in enumerate(arrays):
            if array.dtype != np.uint8 or array.ndim not in (2, 3):
                raise self.error(f"picture {i} is {array.dtype} of shape {array.shape}; give uint8 of 2 or 3 axes")
        self._add([channels_first(array) for array in arrays], labels)

    def _add(self, items: Sequence[Values], labels: Sequence[int]) -> None:
        with self.named():
            shapes = {self.transformer.shape(item.shape) for item in items}
            if shapes - {self.shape[1:]}:
                raise self.error(f"items come out as {sorted(shapes)}; {self.shape[1:]} is what the prototxt says")
            data = np.empty((len(items), *self.shape[1:]), np.float32)
            for item, out in zip(items, data, strict=True):
                self.transformer.apply(item, self.transformer.draw(), out)
            self._take(data, np.array(labels, np.float32))

    def _take(self, images: Floats, values: Floats) -> None:
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
        self._data, self._labels, self._next = images, values.reshape(-1), 0

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        return [self.shape, self.shape[:1]]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> Sequence[Shape]:
        if self._data is None or self._labels is None:
            raise self.error("has no data yet; call net.set_input_arrays(data, labels) before forward")
        batch = slice(self._next, self._next + self.shape[0])
        write(top[0], self._data[batch])
        write(top[1], self._labels[batch])
        self._next = batch.stop % len(self._data)
        return [self.shape, (self.shape[0], 1, 1, 1)]

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        """There is nothing below."""
