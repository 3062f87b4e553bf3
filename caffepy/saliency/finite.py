"""Values that are no numbers: in weights, scores or maps, told before a picture hides them."""

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from caffepy.blob import Floats, SyncedArray
from caffepy.errors import ArgumentError
from caffepy.net import Net
from caffepy.net.execution import Execution


class _Weights:
    """A net's weights, and which of them may have changed since they were found finite."""

    def __init__(self, net: Net) -> None:
        self.where: dict[SyncedArray, tuple[str, str, int, int]] = {}
        for layer in net.execution.layers:
            for i, blob in enumerate(layer.blobs):
                self.where[blob.data_storage] = layer.name, layer.type, i, blob.count
        self.touched = set(self.where)
        for storage in self.where:
            storage.watch(self)

    def check(self) -> None:
        """Raise ArgumentError for weights that are not finite; looks at those that somebody wrote, or may write."""
        suspects = self.touched | {storage for storage in self.where if storage.viewed}
        for storage in suspects:
            name, kind, i, count = self.where[storage]
            values = storage.read_host(count)
            with np.errstate(over="ignore", invalid="ignore"):
                plainly = np.isfinite(np.dot(values, values))
            if not plainly and not np.isfinite(values).all():
                self.touched.add(storage)
                raise ArgumentError(f"weights {i} of layer {name!r} ({kind}) hold values that are not finite")
        self.touched.clear()


_known: weakref.WeakKeyDictionary[Execution, _Weights] = weakref.WeakKeyDictionary()
"""By what a net drops when it is closed, and its weights with it."""


def check_weights(net: Net) -> None:
    """Raise ArgumentError for weights that are not finite; pooling and rectifiers would hide some of them."""
    weights = _known.get(net.execution)
    storages = {blob.data_storage for layer in net.execution.layers for blob in layer.blobs}
    if weights is None or storages != weights.where.keys():
        _known[net.execution] = weights = _Weights(net)
    weights.check()


def check_finite(scores: Floats, maps: Sequence[Any] = ()) -> None:
    """Raise ArgumentError where a score, or a value of a map on the host, is no number."""
    on_host = [values for values in maps if isinstance(values, np.ndarray)]
    if not np.isfinite(scores).all() or not all(np.isfinite(values).all() for values in on_host):
        raise ArgumentError(f"scores {scores.ravel()} or their map are not all finite; is the image on its scale?")
