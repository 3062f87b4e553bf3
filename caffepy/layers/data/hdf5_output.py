"""HDF5Output: blobs written to a file."""

import os
from collections.abc import Sequence

from caffepy.blob import Arrays, Shape
from caffepy.errors import MissingFileError
from caffepy.layer import Layer, register
from caffepy.limits import in_force


@register("HDF5Output", bottoms=2, tops=0)
class HDF5Output(Layer):
    """(n, ...), (n, ...) -> nothing: data sets `data` and `label` of the file `file_name`, always of four axes
    (Caffe: hdf5_output_layer.cpp).

    One forward pass fills the file; Caffe ends at the second, which finds the data sets there.
    """

    host = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.file_name = self.param.hdf5_output_param.file_name
        with self.named():
            in_force().check_file(self.file_name)
        folder = os.path.dirname(os.path.abspath(self.file_name))
        if not self.file_name or not os.path.isdir(folder) or not os.access(folder, os.W_OK):
            raise MissingFileError(
                str(self.error(f"file_name {self.file_name!r} cannot be created: no folder to write"))
            )
        self.written = False

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        for index, shape in enumerate(bottom_shapes):
            if len(shape) > 4:
                raise self.error(
                    f"bottom {self.param.bottom[index]!r} has shape {shape}; at most four axes are written"
                )
        rows = [(*shape, 1)[0] for shape in bottom_shapes]
        if rows[0] != rows[1]:
            raise self.error(f"{rows[0]} items and {rows[1]} labels; give one label for each")
        return []

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        import h5py

        if self.written:
            raise self.error(f"{self.file_name!r} holds a batch already; a second pass needs another file_name")
        try:
            with h5py.File(self.file_name, "w") as file:
                for name, arrays in zip(("data", "label"), bottom, strict=True):
                    shape = (*arrays.shape, 1, 1, 1, 1)[:4]
                    file.create_dataset(name, data=arrays.data.reshape(shape))
        except OSError as error:
            raise MissingFileError(str(self.error(f"{self.file_name!r} cannot be written ({error})"))) from error
        self.written = True

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        """Nothing comes back."""
