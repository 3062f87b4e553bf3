"""HDF5 weights (.caffemodel.h5): /data/<layer>/<index> holds a blob, /diff/<layer>/<index> its diff, as Net::ToHDF5."""

import io
import os
from collections.abc import Container, Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import numpy as np

from caffepy.errors import ProtoError
from caffepy.proto.caffe_pb2 import NetParameter
from caffepy.proto.hdf5_file import Hdf5Reader
from caffepy.proto.stored import FloatArray, Layerwise, StoredBlob, Weights, check_names


def read_hdf5(path: str) -> Weights:
    """The Weights of an HDF5 file; `net` is empty, because such a file holds no definition.

    A layer's name may hold slashes. Raises ProtoError.
    """
    file = Hdf5Reader(path)
    try:
        if "data" not in file.names:
            raise ProtoError(f"{path}: expected weights in the group /data; found {sorted(file.names) or 'nothing'}")
        layers = []
        for name, members in file.walk("data"):
            sets = {int(key): value for key, value in members.items() if key.isdecimal()}
            if name and sets:
                layers.append((name, [_stored(file, sets[index], index) for index in sorted(sets)]))
    except BaseException:
        file.close()
        raise
    return Weights(path, NetParameter(), layers, file.close, by_name=True)


def _stored(file: Hdf5Reader, dataset: Any, index: int) -> StoredBlob:
    def read(out: FloatArray) -> None:
        file.read_into(dataset, out.reshape(shape))

    shape = tuple(dataset.shape or ())
    return StoredBlob(shape, read, index=index)


@contextmanager
def new_hdf5(path: str) -> Iterator[Any]:
    """A new HDF5 file, written through Python: HDF5 asks for the name of its file, and that of `replacing` has none.

    A disk that is full raises OSError, where HDF5 itself raises other errors, or ends the process. What cannot be read
    again while it is written, a pipe or a device, gets the whole at once.
    """
    import h5py

    if os.path.isfile(path):
        with open(path, "w+b") as file, h5py.File(file, "w") as new:
            yield new
        return
    with io.BytesIO() as memory:
        with h5py.File(memory, "w") as new:
            yield new
        with open(path, "wb") as out:
            out.write(memory.getbuffer())


def write_hdf5(
    path: str, net: NetParameter, blobs: Layerwise, diffs: Layerwise | None, shared: Container[tuple[int, int]]
) -> None:
    """Write the blobs but `shared` ones, and the diffs if there are any, as float32; every layer gets a group."""
    check_names(net, blobs, "HDF5")
    tops = {"data": blobs} if diffs is None else {"data": blobs, "diff": diffs}
    with new_hdf5(path) as file:
        for (top, values), (i, name) in product(tops.items(), enumerate(layer.name for layer in net.layer)):
            if values[i] and ("\0" in name or {"", "."} & set(name.split("/"))):
                raise ProtoError(f"HDF5 cannot hold layer {name!r}: it reads its slashes and dots; write a .caffemodel")
            try:
                group = file.require_group(f"{top}/{name}")
                for index, value in enumerate(values[i]):
                    if top == "data" and (i, index) in shared:
                        continue
                    group.create_dataset(str(index), data=np.asarray(value, "<f4"))
            except (ValueError, TypeError) as error:
                raise ProtoError(f"HDF5 cannot hold layer {name!r} ({error}); write a .caffemodel instead") from error
