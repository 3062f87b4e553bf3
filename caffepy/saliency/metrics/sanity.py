"""Sanity checks: a map that stays the same when the net's weights are random is not about the net.

Adebayo, Gilmer, Muelly, Goodfellow, Hardt & Kim 2018, "Sanity Checks for Saliency Maps", arXiv 1810.03292.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from caffepy.blob import Floats
from caffepy.net import Net
from caffepy.saliency.method import Method
from caffepy.saliency.target import Target


def sanity_checks(
    net: Net,
    image: Any,
    method: Method,
    target: Target = "top",
    *,
    cascading: bool = True,
    seed: int = 0,
    parameters: dict[str, Any] | None = None,
    **arguments: Any,
) -> dict[str, float]:
    """By layer, from the last with weights to the first: the rank correlation of the map with the true one when that
    layer's weights, and if `cascading` those of all layers behind it, are shuffled.

    Near 0 where the method passes. The weights are the net's own again afterwards.
    """
    original = method(net, image, target, **arguments, **(parameters or {}))
    fixed = original.classes[0] if original.classes else target
    true, rng, found = original.maps()[0], np.random.default_rng(seed), dict[str, float]()
    layers = [layer for layer in net.execution.layers if layer.blobs and len(layer.blobs[0].shape) > 1]
    kept = {layer.name: [blob.read().copy() for blob in layer.blobs] for layer in layers}
    try:
        for layer in reversed(layers):
            for blob in layer.blobs:
                blob.data[...] = rng.permutation(blob.read().ravel()).reshape(blob.shape)
            values = method(net, image, fixed, **arguments, **(parameters or {})).maps()[0]
            found[layer.name] = rank_correlation(np.abs(values), np.abs(true))
            if not cascading:
                _restore(layer, kept[layer.name])
    finally:
        for layer in layers:
            _restore(layer, kept[layer.name])
    return found


def rank_correlation(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Spearman's: the correlation of the values' ranks, equal values having their mean rank; 0 for a constant."""
    a, b = (_ranks(np.asarray(values, np.float64).ravel()) for values in (first, second))
    if a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place], np.float64)


def _restore(layer: Any, blobs: list[Floats]) -> None:
    for blob, data in zip(layer.blobs, blobs, strict=True):
        blob.data[...] = data
