"""Update rules: what becomes of a weight blob, its diff and its history (Caffe: src/caffe/solvers).

Each is one pass over the blobs of a net: on the CPU in place, piece by piece; on a GPU one launch for all of them.
Symbols: w weights, g their diff, h and v history, m momentum, r the rate times the blob's lr_mult. The diff is left
holding what was subtracted, as in Caffe.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from caffepy.blob.storage import Floats, Ints
from caffepy.kernels import THREADS, Kernel, Launch, kernel

RATE, MOMENTUM, SECOND, DELTA, NORMALIZE, CORRECTION, LIMIT, NUMBERS = range(8)
"""Places in `numbers`: rate, momentum, momentum2 or rms_decay, delta, 1 / iter_size, Adam's correction of its first
iterations, clip_gradients; and how many there are."""
LR_MULT, L2, L1, MULTIPLIERS = range(4)
"""Places in a blob's `multipliers`: its lr_mult, and what its weights and their signs are multiplied by as decay."""
FACTOR, NORM = range(2)
"""Places in `clipping`: what diffs are multiplied by, and their norm before that."""
CHUNK = 4096
"""Elements that a block updates."""
_PIECE = 1 << 15  # elements updated at a time on the CPU: what a pass touches of them stays in the cache


class Weights(NamedTuple):
    """The memory of one weight blob, flat."""

    data: Any
    diff: Any
    h: Any
    v: Any
    """The second history, of the rules that have two; else the first again."""


Blobs = Sequence[Weights]


@dataclass(frozen=True)
class Rule:
    """An update rule by its operation."""

    update: "Kernel[Any]"
    histories: int = 1
    linear: bool = False
    """Whether a blob of lr_mult 0 whose history is zero keeps a history of zero."""


def _launch(entry: str) -> Callable[..., Sequence[Launch]]:
    """One block for each chunk."""

    def plan(blobs: Blobs, addresses: Any, chunks: Any, *rest: Any) -> Sequence[Launch]:
        arguments = ("addresses", "chunks", "multipliers", "numbers", "clipping")
        return [Launch(entry, (chunks.size // 3,), (THREADS,), arguments)] if chunks.size else []

    return plan


def _clear_plan(blobs: Blobs, addresses: Any, chunks: Any) -> Sequence[Launch]:
    return [Launch("clear_diffs", (chunks.size // 3,), (THREADS,), ("addresses", "chunks"))] if chunks.size else []


def _norm_plan(blobs: Blobs, addresses: Any, chunks: Any, numbers: Any, sums: Any, clipping: Any) -> Sequence[Launch]:
    count = chunks.size // 3
    return [
        Launch("sum_squares", (count,), (THREADS,), ("addresses", "chunks", "sums")),
        Launch("clip_factor", (1,), (THREADS,), (count, "sums", "numbers", "clipping")),
    ][0 if count else 1 :]


@kernel("update.cu", plan=_clear_plan)
def clear_diffs(blobs: Blobs, addresses: Ints, chunks: Ints) -> None:
    """g = 0"""
    for blob in blobs:
        blob.diff.fill(0)


@kernel("update.cu", plan=_norm_plan)
def clip_diffs(blobs: Blobs, addresses: Ints, chunks: Ints, numbers: Floats, sums: Floats, clipping: Floats) -> None:
    """clipping = (limit / norm if norm > limit else 1, norm), norm = |all diffs together|; sums: one for each chunk"""
    norm = np.float32(np.sqrt(sum(float(blob.diff @ blob.diff) for blob in blobs)))
    clipping[:] = (numbers[LIMIT] / norm if norm > numbers[LIMIT] else 1), norm


@kernel("update.cu", plan=_launch("sgd_update"))
def sgd_update(
    blobs: Blobs, addresses: Ints, chunks: Ints, multipliers: Floats, numbers: Floats, clipping: Floats
) -> None:
    """h = m h + r g; w -= h"""
    for w, g, h, _, r in _pieces(blobs, multipliers, numbers, clipping):
        h *= numbers[MOMENTUM]
        g *= r
        h += g
        g[...] = h
        w -= g


@kernel("update.cu", plan=_launch("nesterov_update"))
def nesterov_update(
    blobs: Blobs, addresses: Ints, chunks: Ints, multipliers: Floats, numbers: Floats, clipping: Floats
) -> None:
    """h' = m h + r g; w -= (1 + m) h' - m h"""
    m, scratch = numbers[MOMENTUM], _scratch()
    for w, g, h, _, r in _pieces(blobs, multipliers, numbers, clipping):
        before = np.multiply(h, m, out=scratch[0, : w.size])
        g *= r
        np.add(before, g, out=h)
        np.multiply(h, 1 + m, out=g)
        g -= before
        w -= g


@kernel("update.cu", plan=_launch("adagrad_update"))
def adagrad_update(
    blobs: Blobs, addresses: Ints, chunks: Ints, multipliers: Floats, numbers: Floats, clipping: Floats
) -> None:
    """h += g^2; w -= r g / (sqrt(h) + delta)  (Duchi, Hazan & Singer 2011)"""
    scratch = _scratch()
    for w, g, h, _, r in _pieces(blobs, multipliers, numbers, clipping):
        h += np.multiply(g, g, out=scratch[0, : w.size])
        _divide_by_root(g, h, numbers[DELTA], scratch)
        g *= r
        w -= g


@kernel("update.cu", plan=_launch("rmsprop_update"))
def rmsprop_update(
    blobs: Blobs, addresses: Ints, chunks: Ints, multipliers: Floats, numbers: Floats, clipping: Floats
) -> None:
    """h = d h + (1 - d) g^2; w -= r g / (sqrt(h) + delta), d = rms_decay  (Tieleman & Hinton 2012)"""
    scratch = _scratch()
    for w, g, h, _, r in _pieces(blobs, multipliers, numbers, clipping):
        _average_squares(h, g, numbers[SECOND], scratch)
        _divide_by_root(g, h, numbers[DELTA], scratch)
        g *= r
        w -= g


@kernel("update.cu", plan=_launch("adadelta_update"))
def adadelta_update(
    blobs: Blobs, addresses: Ints, chunks: Ints, multipliers: Floats, numbers: Floats, clipping: Floats
) -> None:
    """h = m h + (1 - m) g^2; u = g sqrt((v + delta) / (h + delta)); v = m v + (1 - m) u^2; w -= r u  (Zeiler 2012)"""
    scratch = _scratch()
    for w, g, h, v, r in _pieces(blobs, multipliers, numbers, clipping):
        _average_squares(h, g, numbers[MOMENTUM], scratch)
        ratio = np.add(v, numbers[DELTA], out=scratch[0, : w.size])
        ratio /= np.add(h, numbers[DELTA], out=scratch[1, : w.size])
        g *= np.sqrt(ratio, out=ratio)
        _average_squares(v, g, numbers[MOMENTUM], scratch)
        g *= r
        w -= g


@kernel("update.cu", plan=_launch("adam_update"))
def adam_update(
    blobs: Blobs, addresses: Ints, chunks: Ints, multipliers: Floats, numbers: Floats, clipping: Floats
) -> None:
    """h = m h + (1 - m) g; v = n v + (1 - n) g^2; w -= r c h / (sqrt(v) + delta)  (Kingma & Ba 2015)

    n = momentum2, c = sqrt(1 - n^t) / (1 - m^t) in iteration t, from 1.
    """
    scratch = _scratch()
    for w, g, h, v, r in _pieces(blobs, multipliers, numbers, clipping):
        _average_squares(v, g, numbers[SECOND], scratch)
        g *= 1 - numbers[MOMENTUM]
        h *= numbers[MOMENTUM]
        h += g
        g[...] = h
        _divide_by_root(g, v, numbers[DELTA], scratch)
        g *= r * numbers[CORRECTION]
        w -= g


RULES: dict[str, Rule] = {
    "SGD": Rule(sgd_update, linear=True),
    "Nesterov": Rule(nesterov_update, linear=True),
    "AdaGrad": Rule(adagrad_update),
    "RMSProp": Rule(rmsprop_update),
    "AdaDelta": Rule(adadelta_update, histories=2),
    "Adam": Rule(adam_update, histories=2),
}
"""By the solver's type."""


def _scratch() -> Floats:
    return np.empty((2, _PIECE), np.float32)


def _pieces(
    blobs: Blobs, multipliers: Floats, numbers: Floats, clipping: Floats
) -> Iterator[tuple[Floats, Floats, Floats, Floats, np.float32]]:
    """Weights, diff and histories piece by piece, the diff clipped, normalized and with decay; and the rate."""
    scratch = np.empty(_PIECE, np.float32)
    for index, blob in enumerate(blobs):
        lr_mult, l2, l1 = multipliers[MULTIPLIERS * index : MULTIPLIERS * (index + 1)]
        for start in range(0, blob.data.size, _PIECE):
            w, g, h, v = (array[start : start + _PIECE] for array in blob)
            for factor in (clipping[FACTOR], numbers[NORMALIZE]):
                if factor != 1:
                    g *= factor
            decay = scratch[: w.size]
            if l2:
                g += np.multiply(w, l2, out=decay)
            if l1:
                np.sign(w, out=decay)
                decay *= l1
                g += decay
            yield w, g, h, v, numbers[RATE] * lr_mult


def _average_squares(h: Floats, g: Floats, m: np.float32, scratch: Floats) -> None:
    """h = m h + (1 - m) g^2"""
    squares = np.multiply(g, g, out=scratch[0, : g.size])
    squares *= 1 - m
    h *= m
    h += squares


def _divide_by_root(g: Floats, h: Floats, delta: np.float32, scratch: Floats) -> None:
    """g /= sqrt(h) + delta"""
    root = np.sqrt(h, out=scratch[0, : g.size])
    root += delta
    g /= root
