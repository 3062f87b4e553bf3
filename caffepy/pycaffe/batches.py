"""More samples than a net's batch holds: run batch by batch, the last one filled up with zeros."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from caffepy.blob import Floats
from caffepy.errors import ArgumentError

if TYPE_CHECKING:
    from caffepy.pycaffe.net import Net

Arrays = dict[str, Floats]


def forward_all(net: "Net", blobs: Sequence[str] | None, inputs: Mapping[str, Any]) -> Arrays:
    """See Net.forward_all."""
    total, parts = _count("forward_all", inputs), []
    for batch in batches(net, inputs):
        parts.append(_copies(net.forward(blobs=blobs, **batch)))
    return _together(parts, total)


def forward_backward_all(
    net: "Net", blobs: Sequence[str] | None, diffs: Sequence[str] | None, values: Mapping[str, Any]
) -> tuple[Arrays, Arrays]:
    """See Net.forward_backward_all."""
    inputs = {name: value for name, value in values.items() if name in net.inputs}
    outputs = {name: value for name, value in values.items() if name not in net.inputs}
    total = _count("forward_backward_all", inputs)
    if outputs and _count("forward_backward_all", outputs) != total:
        raise ArgumentError(
            f"forward_backward_all: {_count('forward_backward_all', outputs)} diffs for {total} inputs; give as many"
        )
    forward_parts, backward_parts = [], []
    given = batches(net, outputs) if outputs else None
    for batch in batches(net, inputs):
        forward_parts.append(_copies(net.forward(blobs=blobs, **batch)))
        backward_parts.append(_copies(net.backward(diffs=diffs, **(next(given) if given else {}))))
    return _together(forward_parts, total), _together(backward_parts, total)


def batches(net: "Net", values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The samples of each array, as many at once as the net's batch has; zeros after the last ones."""
    total = _count("batches", values)
    size = next(iter(net.blobs.values())).num
    for first in range(0, total, size):
        batch = {}
        for name, value in values.items():
            part = np.asarray(value[first : first + size], np.float32)
            missing = np.zeros((size - len(part), *part.shape[1:]), np.float32)
            batch[name] = np.concatenate([part, missing])
        yield batch


def _count(call: str, values: Mapping[str, Any]) -> int:
    counts = {name: len(value) for name, value in values.items()}
    if len(set(counts.values())) != 1 or not all(counts.values()):
        raise ArgumentError(f"{call}: give arrays of as many samples for each, one at least; got {counts or 'none'}")
    return next(iter(counts.values()))


def _copies(blobs: Mapping[str, Floats]) -> Arrays:
    return {name: np.atleast_1d(np.array(value)) for name, value in blobs.items()}


def _together(parts: list[Arrays], total: int) -> Arrays:
    """One array for each blob, without what the zeros gave; of a blob without samples, such as a loss, all batches'."""
    whole = {}
    for name in parts[0]:
        array = np.concatenate([part[name] for part in parts])
        whole[name] = array[:total] if len(parts[0][name]) * len(parts) >= total else array
    return whole
