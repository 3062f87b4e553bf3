"""Weights in and out of a net: by layer name, checked before anything is changed."""

import logging
from collections.abc import Mapping, Set
from dataclasses import dataclass
from os import PathLike, fspath
from typing import TYPE_CHECKING

from caffepy.blob import Blob, Shape
from caffepy.errors import ProtoError, WeightsError
from caffepy.layer import Layer
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import NetParameter
from caffepy.proto.caffemodel import open_weights, write_weights
from caffepy.proto.stored import Weights
from caffepy.proto.upgrade import upgrade_net

if TYPE_CHECKING:
    from caffepy.net.net import Net

Path = str | PathLike[str]

log = logging.getLogger("caffepy")


@dataclass(frozen=True)
class WeightReport:
    """What loading weights did, by layer name."""

    loaded: list[str]
    """Layers that got their weights from the file."""
    unused: list[str]
    """Layers of the file that the net does not have."""
    unfilled: list[str]
    """Layers of the net with weights that the file does not have: they keep theirs."""


def read_definition(model: Path | NetParameter) -> tuple[NetParameter, Path | None]:
    """The upgraded definition, and the file itself where it holds weights too."""
    definition = NetParameter()
    if isinstance(model, NetParameter):
        definition.CopyFrom(model)
    elif fspath(model).endswith((".caffemodel", ".h5", ".hdf5")):
        with open_weights(model) as stored:
            if not stored.net.layer:
                raise WeightsError(
                    f"{model}: HDF5 weights hold no net; give its prototxt, and this file as the weights"
                )
            return stored.net, model
    else:
        definition = prototxt.read(model, NetParameter)
    try:
        notes = upgrade_net(definition)
    except ProtoError as error:
        raise ProtoError(str(error) if isinstance(model, NetParameter) else f"{fspath(model)}: {error}") from error
    for note in notes:
        log.info("%s", note)
    return definition, None


def load(net: "Net", path: Path) -> WeightReport:
    """Copy the file's blobs into the layers of the same names."""
    with open_weights(path) as stored:
        return take(net, stored)


def take(net: "Net", stored: Weights) -> WeightReport:
    """Copy what is stored into the layers of the same names; nothing is changed where something does not fit."""
    places = {layer.name: i for i, layer in enumerate(net.layers)}
    matched = {name: blobs for name, blobs in stored.layers.items() if name in places}
    for name, blobs in matched.items():
        layer, elsewhere = net.layers[places[name]], {j for i, j in net.param_owners if i == places[name]}
        _check(layer, {blob.index: (blob.shape, blob.legacy) for blob in blobs}, elsewhere, stored.path)
    for name, blobs in matched.items():
        for blob in blobs:
            blob.copy_into(net.layers[places[name]].blobs[blob.index].data)
    report = WeightReport(
        list(matched),
        [name for name in stored.layers if name not in places],
        [layer.name for layer in net.layers if layer.blobs and layer.name not in matched],
    )
    if report.unused:
        log.warning("%s: layers that this net does not have: %s", stored.path, ", ".join(report.unused))
    if report.unfilled:
        log.warning("%s: no weights for layers: %s", stored.path, ", ".join(report.unfilled))
    return report


def share(net: "Net", other: "Net") -> None:
    """Point the weights of layers of the same names at the other net's memory."""
    theirs = {layer.name: layer for layer in other.layers if layer.blobs}
    shared = [(layer, theirs[layer.name]) for layer in net.layers if layer.name in theirs]
    for layer, source in shared:
        _check(layer, {j: (blob.shape, False) for j, blob in enumerate(source.blobs)}, set(), "the other net")
    for layer, source in shared:
        for blob, from_blob in zip(layer.blobs, source.blobs, strict=True):
            blob.share_data(from_blob)


def save(net: "Net", path: Path, diffs: bool, *, hdf5: bool | None = None) -> None:
    """Write the definition and every layer's weights, and their diffs if asked to."""
    values = {layer.name: [blob.data for blob in layer.blobs] for layer in net.layers if layer.blobs}
    with_diffs = {layer.name: [blob.diff for blob in layer.blobs] for layer in net.layers if layer.blobs}
    write_weights(path, net.param, values, with_diffs if diffs else None, hdf5=hdf5)


def _check(layer: Layer, found: Mapping[int, tuple[Shape, bool]], elsewhere: Set[int], source: str) -> None:
    """Raise WeightsError unless the blobs found, by index, fit; those `elsewhere` are shared with another layer."""
    where = f"layer {layer.name!r} ({layer.type})"
    expected = set(range(len(layer.blobs)))
    if not expected - elsewhere <= set(found) <= expected:
        raise WeightsError(
            f"{where}: {source} has {len(found)} blob(s) for it, the net {len(layer.blobs)}; use the prototxt these "
            "weights were trained with, or rename the layer to leave it untouched"
        )
    for index, (shape, legacy) in found.items():
        blob = layer.blobs[index]
        if shape != (_legacy_shape(blob) if legacy else blob.shape):
            raise WeightsError(
                f"{where}: weight blob {index} has shape {blob.shape} in the net and {shape} in {source}; use the "
                "prototxt these weights were trained with, or rename the layer to keep its own weights"
                + ("; to reshape them, load them into the old net and copy the arrays" if _count(shape, blob) else "")
            )


def _legacy_shape(blob: Blob) -> Shape:
    """Old files give every blob 4 axes; theirs count from the end: blob.cpp, Blob::ShapeEquals."""
    return (1,) * (4 - len(blob.shape)) + blob.shape


def _count(shape: Shape, blob: Blob) -> bool:
    return Blob(shape).count == blob.count
