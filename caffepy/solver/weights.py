"""The weights that a solver updates: which blobs, with which multipliers (Caffe: Net::AppendParam)."""

from collections.abc import Sequence
from dataclasses import dataclass

from caffepy.blob import Blob
from caffepy.graph import param_spec
from caffepy.net import Net


@dataclass(frozen=True)
class Learnable:
    """A weight blob that no other layer owns."""

    layer: str
    index: int
    blob: Blob
    lr_mult: float
    decay_mult: float
    differentiated: bool
    """Whether backward computes its diff."""


def learnable(net: Net) -> list[Learnable]:
    """In the order of layers. Where layers share a blob, the first that gives a multiplier decides it."""
    sharers: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for i, layer in enumerate(net.execution.layers):
        for j in range(len(layer.blobs)):
            sharers.setdefault(net.param_owners.get((i, j), (i, j)), []).append((i, j))
    return [
        Learnable(
            net.execution.layers[i].name,
            j,
            net.execution.layers[i].blobs[j],
            _given(net, places, "lr_mult"),
            _given(net, places, "decay_mult"),
            any(net.plan.layers[k] and net.execution.layers[k].param_propagate_down[m] for k, m in places),
        )
        for (i, j), places in sharers.items()
    ]


def _given(net: Net, places: Sequence[tuple[int, int]], field: str) -> float:
    specs = [param_spec(net.execution.layers[i].param, j) for i, j in places]
    value: float = getattr(next((spec for spec in specs if spec.HasField(field)), specs[0]), field)
    if field == "lr_mult" and any(net.execution.layers[i].type == "BatchNorm" for i, _ in places):
        return 0.0  # running sums, no weights: BatchNormLayer::LayerSetUp
    return value
