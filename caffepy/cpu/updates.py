"""Updates of weights: they go element by element, so they run in whatever layout the weights are in."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffepy.blob import Floats
from caffepy.cpu.build import Builder, DeclinedError
from caffepy.cpu.homes import ZEROS
from caffepy.cpu.record import Operation
from caffepy.cpu.table import translates
from caffepy.device.onednn.handles import Layout, Memory, contiguous

KEEP_ZEROS = "sgd_update", "nesterov_update"
"""They leave 0 where weight, diff and history are 0; others divide, and would fill the pad of blocks with NaN."""


@translates("clear_diffs")
def clear_diffs(b: Builder, operation: Operation) -> None:
    """Nothing is written: who adds to the diffs next knows that they are zero."""
    for blob in _whole(b, operation):
        b.compute(blob.diff, ZEROS)


@translates("clip_diffs")
def clip_diffs(b: Builder, operation: Operation) -> None:
    """The norm of what is in any layout; the pad of blocks is zero."""
    blobs = _whole(b, operation)
    diffs = [_flat(b, blob.diff, b.read(blob.diff, b.form(blob.diff))) for blob in blobs]
    _call(b, operation, [blob._replace(diff=diff) for blob, diff in zip(blobs, diffs, strict=True)])


@translates("sgd_update", "nesterov_update", "adagrad_update", "rmsprop_update", "adadelta_update", "adam_update")
def update(b: Builder, operation: Operation) -> None:
    """Each blob in its data's layout, its diff and history with it."""
    found = []
    for blob in _whole(b, operation):
        layout = _layout(b, blob.data, pad=operation.name in KEEP_ZEROS)
        known: dict[int, Floats] = {}
        for array in blob:
            if id(array) not in known:
                known[id(array)] = _flat(b, array, b.update(array, layout))
        found.append(blob._make(known[id(array)] for array in blob))
    _call(b, operation, found)


def _layout(b: Builder, weight: Floats, *, pad: bool) -> Layout:
    layout = b.form(weight)
    return layout if pad or layout.size == weight.nbytes else contiguous(layout.shape)


def _whole(b: Builder, operation: Operation) -> Sequence[Any]:
    """The operation's blobs, if each array is all of its storage."""
    blobs: Sequence[Any] = operation["blobs"]
    if not all(b.whole(array) for blob in blobs for array in blob):
        raise DeclinedError
    return blobs


def _flat(b: Builder, array: Floats, memory: Memory) -> NDArray[np.float32]:
    """All elements of that memory, the pad of blocks included."""
    if memory.layout.plain:
        return np.asarray(b.raw(array)).reshape(-1)
    return memory.array((memory.layout.size // 4,))


def _call(b: Builder, operation: Operation, blobs: Sequence[Any]) -> None:
    """Run the body on these blobs, and on its other arrays as NumPy has them."""
    others = [array for array in operation.args[1:] if isinstance(array, np.ndarray)]
    b.on_host([(array, access) for array, access in operation.arrays if any(array is other for other in others)])
    b.call(operation.name, functools.partial(operation.body, blobs, *map(b.raw, operation.args[1:])))
