"""HDF5 weights (.caffemodel.h5): /data/<layer>/<index> holds a blob, /diff/<layer>/<index> its diff, as Net::ToHDF5."""

from collections.abc import Container, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from caffepy.errors import ProtoError, StateError
from caffepy.proto.caffe_pb2 import NetParameter
from caffepy.proto.stored import FloatArray, Layerwise, StoredBlob, Weights, check_names

_DAMAGED = (OSError, KeyError, RuntimeError, ValueError, TypeError)  # what h5py raises for a damaged file


def read_hdf5(path: str) -> Weights:
    """The Weights of an HDF5 file; `net` is empty, because such a file holds no definition."""
    import h5py

    try:
        file = h5py.File(path, "r")
    except _DAMAGED as error:
        raise ProtoError(f"{path}: not a whole HDF5 file ({error}); download or copy it again") from error
    layers: dict[str, list[StoredBlob]] = {}
    try:
        if not isinstance(file.get("data"), h5py.Group):
            raise ProtoError(f"{path}: expected weights in the group /data; found {sorted(file) or 'nothing'}")
        _collect(file["data"], "", path, layers)
    except BaseException as error:
        file.close()
        if isinstance(error, _DAMAGED) and not isinstance(error, ProtoError):
            raise ProtoError(f"{path}: damaged HDF5 file ({error}); download or copy it again") from error
        raise
    return Weights(path, NetParameter(), list(layers.items()), file.close, by_name=True)


def _collect(group: Any, name: str, path: str, layers: dict[str, list[StoredBlob]]) -> None:
    """Add the layer `name` with the group's data sets, then the groups inside: a layer's name may hold slashes."""
    import h5py

    inside = {key: group[key] for key in group}
    sets = {int(key): value for key, value in inside.items() if key.isdecimal() and isinstance(value, h5py.Dataset)}
    if sets:
        layers[name] = [StoredBlob(tuple(sets[i].shape), partial(_read, sets[i], path), index=i) for i in sorted(sets)]
    for key, value in inside.items():
        if isinstance(value, h5py.Group):
            _collect(value, f"{name}/{key}" if name else key, path, layers)


def _read(dataset: Any, path: str, out: FloatArray) -> None:
    if not dataset:  # what h5py says of a closed file
        raise StateError(f"{path}: the file is closed; read its blobs inside the `with open_weights(...)`")
    try:
        dataset.read_direct(out.reshape(dataset.shape))
    except _DAMAGED as error:
        raise ProtoError(f"{path}: cannot read {dataset.name} ({error}); download or copy the file again") from error


@contextmanager
def new_hdf5(path: str) -> Iterator[Any]:
    """A new HDF5 file, written through Python: HDF5 asks for the name of its file, and that of `replacing` has none.

    A disk that is full raises OSError, where HDF5 itself raises other errors.
    """
    import h5py

    with open(path, "w+b") as file, h5py.File(file, "w") as new:
        yield new


def write_hdf5(
    path: str, net: NetParameter, blobs: Layerwise, diffs: Layerwise | None, shared: Container[tuple[int, int]]
) -> None:
    """Write the blobs but `shared` ones, and the diffs if there are any, as float32; every layer gets a group."""
    check_names(net, blobs, "HDF5")
    tops = {"data": blobs} if diffs is None else {"data": blobs, "diff": diffs}
    with new_hdf5(path) as file:
        for (top, values), (i, name) in product(tops.items(), enumerate(layer.name for layer in net.layer)):
            try:
                group = file.require_group(f"{top}/{name}")
                for index, value in enumerate(values[i]):
                    if top == "data" and (i, index) in shared:
                        continue
                    group.create_dataset(str(index), data=np.asarray(value, "<f4"))
            except (ValueError, TypeError) as error:
                raise ProtoError(f"HDF5 cannot hold layer {name!r} ({error}); write a .caffemodel instead") from error
