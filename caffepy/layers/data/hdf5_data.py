"""HDF5Data: batches of rows of HDF5 files."""

from collections.abc import Sequence

from caffepy.blob import Arrays, Shape
from caffepy.data.hdf5 import Hdf5Source
from caffepy.layer import Layer, register
from caffepy.layers.data.prefetching import write


@register("HDF5Data", bottoms=0, tops=(1, None))
class HDF5Data(Layer):
    """Nothing -> for each top batch_size rows of the data set of its name, any shape, in the files that `source` lists,
    from the first again behind the last (Caffe: hdf5_data_layer.cpp).

    shuffle shuffles the files, and the rows within each, in the order that Caffe's C library gives, whatever the seed.
    """

    host = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.hdf5_data_param
        if self.param.HasField("transform_param"):
            raise self.error("HDF5Data does not transform data; leave transform_param out and store them transformed")
        if p.batch_size < 1:
            raise self.error("batch_size must be at least 1")
        with self.named():
            self.source = Hdf5Source(p.source, list(self.param.top), shuffle=p.shuffle)

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        return [(self.param.hdf5_data_param.batch_size, *shape) for shape in self.source.shapes]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        with self.named():
            rows = self.source.read(self.param.hdf5_data_param.batch_size)
        for arrays, values in zip(top, rows, strict=True):
            write(arrays, values)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        """There is nothing below."""
