"""Weights files, binary (.caffemodel) and HDF5 (.caffemodel.h5): open_weights and write_weights."""

import os
from collections.abc import Container, Mapping, Sequence

from caffepy.errors import ArgumentError, ProtoError
from caffepy.proto.binary import read_binary
from caffepy.proto.binary_write import write_binary
from caffepy.proto.caffe_pb2 import NetParameter
from caffepy.proto.files import HEAD, PathLike, kind_of, open_binary, remedy, replacing
from caffepy.proto.hdf5 import read_hdf5, write_hdf5
from caffepy.proto.stored import FloatArray, Layerwise, StoredBlob, Weights, blob_array, blob_shape

__all__ = ["StoredBlob", "Weights", "blob_array", "blob_shape", "open_weights", "write_weights"]


def open_weights(path: PathLike) -> Weights:
    """Open a weights file; its content, not its name, tells binary from HDF5.

    Only the definition is read; each blob is read when it is asked for. V1 and V0 files are upgraded. Raises
    MissingFileError for a file that cannot be opened, ProtoError for one that is damaged or holds no weights.
    """
    name = os.fspath(path)
    file = open_binary(path)
    try:
        head = file.read(HEAD)
        kind = kind_of(head)
        if kind == "binary":
            return read_binary(file, name)
    except BaseException as error:
        file.close()
        if isinstance(error, OSError):
            raise ProtoError(f"{name}: cannot be read: {error}") from error
        raise
    file.close()
    if kind == "hdf5":
        return read_hdf5(name)
    if kind == "text":
        line = head.decode("utf-8", "replace").strip().partition("\n")[0][:60]
        raise ProtoError(
            f"{name}: expected weights and found text, which begins {line!r}; if this is the prototxt, give the "
            ".caffemodel here"
        )
    raise ProtoError(f"{name}: expected weights; {remedy(kind)}")


def write_weights(
    path: PathLike,
    net: NetParameter,
    blobs: Layerwise | Mapping[str, Sequence[FloatArray]],
    diffs: Layerwise | Mapping[str, Sequence[FloatArray]] | None = None,
    *,
    hdf5: bool | None = None,
    shared: Container[tuple[int, int]] = (),
) -> None:
    """Write a net's weights as Caffe does; HDF5 if the name ends in .h5 or .hdf5, binary otherwise.

    blobs, diffs  for each layer of the net, in its order, or by name: then the first layer of a name has them
    hdf5          decides whatever the name is
    shared        blobs, by layer and index, that an HDF5 file leaves out: their owner has them

    The arrays go to the file one after the other, as float32; blobs inside `net` are not written. A binary file holds
    the definition too. The file appears when it is whole. Raises ArgumentError if blobs, diffs and net do not belong
    together, MissingFileError or ProtoError if the file cannot be written.
    """
    if net.layers:
        raise ArgumentError("write_weights: the definition is of an old format; call upgrade_net on it first")
    values, gradients = _in_order(net, blobs), _in_order(net, diffs) if diffs else None
    for layer, ours, theirs in zip(net.layer, values, gradients or (), strict=bool(gradients)):
        shapes, found = [blob.shape for blob in ours], [diff.shape for diff in theirs]
        if shapes != found and not (isinstance(diffs, Mapping) and layer.name not in diffs):
            where = f"write_weights: layer {layer.name!r}"
            raise ArgumentError(f"{where} has blobs of shapes {shapes} and diffs of {found}")
    if hdf5 is None:
        hdf5 = os.fspath(path).lower().endswith((".h5", ".hdf5"))
    with replacing(path) as beside:
        if hdf5:
            write_hdf5(beside, net, values, gradients, shared)
        else:
            write_binary(beside, net, values, gradients)


def _in_order(net: NetParameter, blobs: Layerwise | Mapping[str, Sequence[FloatArray]]) -> Layerwise:
    names = [layer.name for layer in net.layer]
    if not isinstance(blobs, Mapping):
        if len(blobs) != len(names):
            raise ArgumentError(f"write_weights: blobs of {len(blobs)} layers for a net of {len(names)}")
        return blobs
    if unknown := [name for name in blobs if name not in names]:
        raise ArgumentError(f"write_weights: blobs for layers that the definition does not have: {', '.join(unknown)}")
    return [blobs.get(name, ()) if name not in names[:i] else () for i, name in enumerate(names)]
