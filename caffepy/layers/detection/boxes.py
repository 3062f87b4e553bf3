"""Boxes (..., 4) of xmin, ymin, xmax, ymax: overlaps, suppression, matching, and codes relative to priors."""

import numpy as np
from numpy.typing import NDArray

from caffepy.blob import Floats
from caffepy.limits import STEP
from caffepy.proto.caffe_pb2 import PriorBoxParameter

Indices = NDArray[np.intp]

CHUNK = 64
"""Boxes that suppression compares with each other at once."""

LEAST_OVERLAP = np.float32(1e-6)
"""What overlaps less does not overlap (SSD: bbox_util.cpp)."""


@np.errstate(all="ignore")
def areas(boxes: Floats, border: int = 0) -> Floats:
    """(...): width * height, 0 if turned inside out; `border` 1: of pixels, the last row and column included."""
    area: Floats = np.maximum(boxes[..., 2:] - boxes[..., :2] + np.float32(border), 0).prod(axis=-1)
    return area


@np.errstate(all="ignore")
def overlaps(first: Floats, second: Floats, border: int = 0, *, of_smaller: bool = False) -> Floats:
    """Intersection over union, or over the smaller box, of boxes (..., 4), which broadcast; 0 if they share nothing."""
    shared: Floats = np.ones((), np.float32)
    for low, high in ((0, 2), (1, 3)):
        extent = np.minimum(first[..., high], second[..., high]) - np.maximum(first[..., low], second[..., low])
        shared = np.maximum(extent + np.float32(border), 0) * shared
    of_first, of_second = areas(first, border), areas(second, border)
    whole = np.minimum(of_first, of_second) if of_smaller else of_first + of_second - shared
    return np.where(shared > 0, shared / whole, np.float32(0))


def suppression_work(boxes: int) -> int:
    """What `suppress` has to do for so many boxes, see limits.Limits."""
    return boxes * (STEP + 10 * boxes) + STEP


def suppress(
    boxes: Floats,
    threshold: float,
    *,
    eta: float = 1,
    most: int | None = None,
    border: int = 0,
    of_smaller: bool = False,
) -> Indices:
    """Which of the boxes (n, 4), best first, stay: those that overlap none that stays before them above the threshold.

    eta    below 1, the threshold is multiplied by it for each that stays, as long as it is above 0.5 (SSD)
    most   no more than so many stay
    of_smaller  the overlap is that of the smaller box
    """
    limit = np.float32(threshold)
    kept: list[int] = []
    for start in range(0, len(boxes), CHUNK):
        chunk = boxes[start : start + CHUNK]
        worst = overlaps(chunk[:, None], boxes[kept], border, of_smaller=of_smaller).max(axis=1, initial=0)
        among = overlaps(chunk[:, None], chunk, border, of_smaller=of_smaller)
        for i in range(len(chunk)):
            if len(kept) == most:
                return np.array(kept, np.intp)
            if worst[i] <= limit:
                kept.append(start + i)
                np.maximum(worst, among[i], out=worst)
                if eta < 1 and limit > 0.5:
                    limit *= np.float32(eta)
    return np.array(kept, np.intp)


def best_first(scores: Floats) -> Indices:
    """Their indices, the highest score first, equal ones as they come."""
    return np.argsort(-scores, kind="stable")


def match(priors: Floats, objects: Floats, *, each: float | None) -> tuple[Indices, Floats]:
    """For priors (p, 4): the index of its object (g, 4) or -1, and the most that it overlaps any.

    Each object in turn, the pair of most overlap first, gets a prior of its own; with `each`, every prior left gets the
    object that it overlaps most, if by that much at least (SSD: bbox_util.cpp).
    """
    overlap = overlaps(priors[:, None], objects)
    overlap[~(overlap > LEAST_OVERLAP)] = 0
    matched, most = np.full(len(priors), -1), overlap.max(axis=1, initial=0)
    free = overlap.copy()
    while free.size and (best := int(free.argmax())) >= 0 and free.flat[best] > 0:
        prior, obj = divmod(best, len(objects))
        matched[prior] = obj
        free[prior], free[:, obj] = 0, 0
    if each is not None and len(objects):
        more = (matched < 0) & (most >= np.float32(each)) & (most > 0)
        matched[more] = overlap[more].argmax(axis=1)
    return matched, most


@np.errstate(all="ignore")
def decode(codes: Floats, priors: Floats, variances: Floats | np.float32, code_type: int) -> Floats:
    """The boxes that codes (..., 4) mean relative to the priors.

    With c = code * variance, prior centre p and size s: CORNER prior + c; CORNER_SIZE prior + c * s; CENTER_SIZE centre
    p + c[:2] * s, size s * exp(c[2:]) (Liu et al. 2016; SSD: bbox_util.cpp). Exponentials are rounded from float64: a
    GPU gives the same.
    """
    moves: Floats = codes * variances
    centres, sizes = _centres(priors), _sizes(priors)
    if code_type == PriorBoxParameter.CENTER_SIZE:
        growths = np.exp(moves[..., 2:].astype(np.float64)).astype(np.float32)
        middles, halves = centres + moves[..., :2] * sizes, sizes * growths / 2
        return np.concatenate([middles - halves, middles + halves], axis=-1)
    if code_type == PriorBoxParameter.CORNER_SIZE:
        moves = moves * np.concatenate([sizes, sizes], axis=-1)
    corners: Floats = priors + moves
    return corners


def encode(boxes: Floats, priors: Floats, variances: Floats, code_type: int) -> Floats:
    """The codes that `decode` makes the boxes of."""
    codes, sizes = boxes - priors, _sizes(priors)
    if code_type == PriorBoxParameter.CORNER_SIZE:
        codes /= np.concatenate([sizes, sizes], axis=-1)
    elif code_type == PriorBoxParameter.CENTER_SIZE:
        moves = (_centres(boxes) - _centres(priors)) / sizes
        codes = np.concatenate([moves, np.log(_sizes(boxes) / sizes)], axis=-1)
    codes /= variances
    return codes


def _centres(boxes: Floats) -> Floats:
    centres: Floats = (boxes[..., :2] + boxes[..., 2:]) / np.float32(2)
    return centres


def _sizes(boxes: Floats) -> Floats:
    return boxes[..., 2:] - boxes[..., :2]
