"""Weights in and out of a net's layers, checked before anything is changed."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from os import PathLike

from caffepy import graph
from caffepy.blob import Blob, Shape
from caffepy.errors import CaffeError, ProtoError, WeightsError, visible
from caffepy.layer import Layer
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import NetParameter, NetState, ParamSpec
from caffepy.proto.caffemodel import open_weights, write_weights
from caffepy.proto.files import as_path
from caffepy.proto.settings import settle
from caffepy.proto.stored import StoredBlob, Weights, held, in_order
from caffepy.proto.upgrade import upgrade_net

Path = str | bytes | PathLike[str]
Layers = Sequence[Layer]
Shared = Mapping[tuple[int, int], tuple[int, int]]
"""Weight blobs (layer, index) that have their memory from another: graph.param_owners."""

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
    indices: set[int]
    """The places in the net of those loaded."""


def read_definition(model: Path | NetParameter) -> NetParameter:
    """The upgraded definition."""
    with open_definition(model) as own:
        return own.net


def open_definition(model: Path | NetParameter) -> Weights:
    """The upgraded definition, and the weights in it: a .caffemodel's, or blobs that the messages hold."""
    path = "" if isinstance(model, NetParameter) else as_path(model, "Net: the model")
    if path.endswith((".caffemodel", ".h5", ".hdf5")):
        stored = open_weights(path)
        if not stored.net.layer:
            stored.close()
            raise WeightsError(f"{path}: HDF5 weights hold no net; give its prototxt, and this file as the weights")
        return stored
    definition = NetParameter()
    if isinstance(model, NetParameter):
        definition.CopyFrom(model)
    else:
        definition = prototxt.read_net(path)
    try:
        own = held(definition)
        notes = upgrade_net(definition)
    except ProtoError as error:
        raise ProtoError(f"{path}: {error}" if path else str(error)) from error
    for note in notes:
        log.info("%s", note)
    return own


def settled(param: NetParameter, phase: int) -> NetParameter:
    """The same net, without settings of forks that change nothing in that phase; see `settings.settle`."""
    for note in settle(param, phase):
        log.info("%s", note)
    return param


def load(layers: Layers, shared: Shared, path: Path, *, fresh: bool = False) -> WeightReport:
    """Copy the file's blobs into the layers of the same names; see `take`."""
    with open_weights(as_path(path, "weights")) as stored:
        return take(layers, shared, stored, fresh=fresh)


def take(layers: Layers, shared: Shared, stored: Weights, *, fresh: bool = False) -> WeightReport:
    """Copy what is stored into the layers of the same names; nothing is changed where something does not fit.

    fresh   the layers hold nothing yet that could be lost, so that values are read straight into their place; else all
            are read before any is replaced

    Of several layers of one name the first with weights is meant, or in a file by names the last; the last one's stay.
    """
    places = _places(layers, last=stored.by_name)
    each = [(name, blobs) for name, blobs in stored.each if blobs or stored.by_name]
    matched = [(places[name], blobs) for name, blobs in each if name in places]
    _copy(layers, shared, matched, stored.path, fresh=fresh)
    loaded = dict(matched)
    report = WeightReport(
        [layers[i].name for i in loaded],
        [name for name, _ in each if name not in places],
        [layer.name for i, layer in enumerate(layers) if layer.blobs and i not in loaded],
        set(loaded),
    )
    if len(loaded) < len(matched):
        number = Counter(name for name, _ in each)
        twice = visible(", ".join(sorted(name for name in places if number[name] > 1)))
        log.warning("%s: several layers are named %s; the net's first takes the last's", stored.path, twice)
    if report.unused:
        log.warning("%s: layers that this net does not have: %s", stored.path, visible(", ".join(report.unused)))
    if report.unfilled:
        log.warning("%s: no weights for layers: %s", stored.path, visible(", ".join(report.unfilled)))
    return report


def take_own(layers: Layers, shared: Shared, own: Weights, state: NetState) -> set[int]:
    """Copy the definition's own weights into its layers one by one, as Caffe's Layer does; which layers had some."""
    kept = [
        (layer.name, blobs)
        for layer, blobs in zip(own.net.layer, own.of_layers(), strict=True)
        if graph.included(layer, state)
    ]
    blobs_of = in_order(kept, (layer.name for layer in layers))
    matched = [(i, blobs) for i, blobs in enumerate(blobs_of) if blobs]
    _copy(layers, shared, matched, own.path, fresh=True)
    return {i for i, _ in matched}


def share(layers: Layers, others: Layers) -> bool:
    """Point the weights of layers of the same names at the others' memory; whether that changed anything.

    Net::ShareTrainedLayersWith.
    """
    places = _places(layers, last=False)
    pairs = {places[source.name]: source for source in others if source.blobs and source.name in places}
    for i, source in pairs.items():
        _check(layers[i], {j: (blob.shape, False) for j, blob in enumerate(source.blobs)}, set(), "the other net")
    changed = False
    for i, source in pairs.items():
        for blob, from_blob in zip(layers[i].blobs, source.blobs, strict=True):
            changed = changed or blob.data_storage is not from_blob.data_storage
            blob.share_data(from_blob)
    return changed


def save(
    param: NetParameter, layers: Layers, shared: Shared, path: Path, diffs: bool, *, hdf5: bool | None = None
) -> None:
    """Write the net's name, its layers and their weights, and their diffs if asked to, as Caffe does.

    In an HDF5 file a blob that is `shared` stands under its owner only; diffs stand everywhere (Net::ToHDF5).
    """
    values = [[blob.glance() for blob in layer.blobs] for layer in layers]
    with_diffs = [[blob.read_diff() for blob in layer.blobs] for layer in layers] if diffs else None
    definition = NetParameter(name=param.name, layer=param.layer)
    for written, layer in zip(definition.layer, layers, strict=True):
        if layer.is_loss and not written.loss_weight:  # as LossLayer::LayerSetUp enters it
            written.loss_weight.append(1)
        if layer.type == "BatchNorm":  # as BatchNormLayer::LayerSetUp does: running sums are not learned
            written.param.extend(ParamSpec(lr_mult=0) for _ in range(len(layer.blobs) - len(written.param)))
    write_weights(as_path(path, "save"), definition, values, with_diffs, hdf5=hdf5, shared=shared)


def _places(layers: Layers, *, last: bool) -> dict[str, int]:
    """By name the layer that weights of this name go to: one that has some, if there is one."""
    order = list(enumerate(layers)) if last else list(enumerate(layers))[::-1]
    return {layer.name: i for some in (False, True) for i, layer in order if bool(layer.blobs) == some}


def _copy(
    layers: Layers, shared: Shared, matched: Sequence[tuple[int, list[StoredBlob]]], path: str, *, fresh: bool
) -> None:
    """Check all, read all unless the layers are `fresh`, then copy; of several for one layer the last."""
    chosen = dict(matched)
    before = {i: len(layers[i].blobs) for i in chosen}
    try:
        for i, blobs in matched:
            elsewhere = {k for owner, k in shared if owner == i}
            shapes = layers[i].adopt([blob.shape for blob in blobs])
            found = {blob.index: (shape, blob.legacy) for blob, shape in zip(blobs, shapes, strict=True)}
            _check(layers[i], found, elsewhere, path)
        read = {i: [None if fresh else blob.array() for blob in blobs] for i, blobs in chosen.items()}
    except CaffeError:
        for i, count in before.items():
            layers[i].keep_weights(count)
        raise
    for i, blobs in chosen.items():
        for blob, values in zip(blobs, read.pop(i), strict=True):
            place = layers[i].blobs[blob.index]
            if values is None:
                blob.copy_into(place.data)
            else:
                place.data_storage.put(values)
        layers[i].loaded()


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
        if shape != (_legacy_shape(blob, len(shape)) if legacy else blob.shape):
            raise WeightsError(
                f"{where}: weight blob {index} has shape {blob.shape} in the net and {shape} in {source}; use the "
                "prototxt these weights were trained with, or rename the layer to keep its own weights"
                + ("; to reshape them, load them into the old net and copy the arrays" if _count(shape, blob) else "")
            )


def _legacy_shape(blob: Blob, axes: int) -> Shape:
    """Old files give every blob 4 axes, C3D's 5; they count from the end: blob.cpp, Blob::ShapeEquals."""
    return (1,) * (axes - len(blob.shape)) + blob.shape


def _count(shape: Shape, blob: Blob) -> bool:
    return Blob(shape).count == blob.count
