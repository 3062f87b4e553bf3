"""More samples than a net's batch holds: run batch by batch, the last one filled up with zeros."""

from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any

import numpy as np

from caffepy.blob import Floats
from caffepy.errors import ArgumentError

Arrays = dict[str, Floats]
Pass = Callable[..., Mapping[str, Floats]]


def forward_all(forward: Pass, size: int, inputs: Mapping[str, Any]) -> Arrays:
    """See Net.forward_all."""
    total, parts = _count("forward_all", inputs), []
    for batch in batches(size, inputs):
        parts.append(_copies(forward(**batch)))
    return _together(parts, total)


def forward_backward_all(
    forward: Pass, backward: Pass, size: int, names: Container[str], values: Mapping[str, Any]
) -> tuple[Arrays, Arrays]:
    """See Net.forward_backward_all; `names` are the inputs'."""
    inputs = {name: value for name, value in values.items() if name in names}
    outputs = {name: value for name, value in values.items() if name not in names}
    total = _count("forward_backward_all", inputs)
    if outputs and _count("forward_backward_all", outputs) != total:
        raise ArgumentError(
            f"forward_backward_all: {_count('forward_backward_all', outputs)} diffs for {total} inputs; give as many"
        )
    forward_parts, backward_parts = [], []
    given = batches(size, outputs) if outputs else None
    for batch in batches(size, inputs):
        forward_parts.append(_copies(forward(**batch)))
        backward_parts.append(_copies(backward(**(next(given) if given else {}))))
    return _together(forward_parts, total), _together(backward_parts, total)


def batches(size: int, values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The samples of each array, `size` at once; zeros after the last ones."""
    total = _count("batches", values)
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
