"""Bilinear resizing of eight-bit pictures in OpenCV's fixed-point arithmetic (cv::resize, INTER_LINEAR)."""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""(height, width, channels), channels in the order blue, green, red, alpha; or (height, width) of a grey one."""

_ONE = 2048
"""A weight of 1."""
_ROWS = 64
"""Of the target, resized at once."""
_SIZES = 32
"""What is computed from sizes alone is remembered for so many of them."""


def resize(picture: Picture, height: int, width: int) -> Picture:
    """(any, any[, channels]) -> (height, width[, channels]): every byte as OpenCV's.

    Each axis samples at (i + 0.5) * scale - 0.5, with weights rounded to 1/2048; a picture halved exactly is, as in
    OpenCV, the mean of its 2 x 2 blocks. Results may lie in memory channel by channel, as nets want them.
    """
    rows, columns = picture.shape[:2]
    if (rows, columns) == (height, width):
        return picture
    if (rows, columns) == (2 * height, 2 * width):
        wide = picture.astype(np.uint16)
        pairs = wide[::2] + wide[1::2]
        return (pairs[:, ::2] + pairs[:, 1::2] + 2 >> 2).astype(np.uint8)
    channels = math.prod(picture.shape[2:])
    backwards = channels > 1 and picture.strides[2] < 0  # such as BGR of RGB: read as it lies in memory
    flat = (picture[..., ::-1] if backwards else picture).reshape(rows, columns * channels)
    left, right, left_weights, right_weights = _across(columns, width, channels, backwards)
    planes = np.empty((height, channels * width), np.uint8)
    for block in _down(rows, height):
        part = flat[block.used]
        lines = part.take(left, axis=1) * left_weights
        lines += part.take(right, axis=1) * right_weights
        lines >>= 4
        upper, lower = lines.take(block.above, axis=0), lines.take(block.below, axis=0)
        for half, weights in ((upper, block.above_weights), (lower, block.below_weights)):
            half *= weights
            half >>= 16
        upper += lower
        upper += 2
        upper >>= 2
        planes[block.rows] = upper
    found = planes.reshape(height, channels, width).transpose(0, 2, 1)
    return found if picture.ndim == 3 else found[..., 0]


class _Block(NamedTuple):
    """Some of the target's rows: the source's rows that they come from, which of these, and their weights."""

    rows: slice
    used: slice | NDArray[np.intp]
    above: NDArray[np.intp]
    below: NDArray[np.intp]
    above_weights: NDArray[np.int32]
    below_weights: NDArray[np.int32]


@lru_cache(maxsize=_SIZES)
def _down(source: int, target: int) -> tuple[_Block, ...]:
    """Blocks of rows, so few that what is computed of them stays in the cache."""
    above, below, above_weight, below_weight = _taps(source, target, clamp_weights=False)
    found = []
    for start in range(0, target, _ROWS):
        rows = slice(start, start + _ROWS)
        used = np.unique(np.concatenate([above[rows], below[rows]]))
        whole = len(used) == used[-1] - used[0] + 1
        found.append(
            _Block(
                rows,
                slice(used[0], used[-1] + 1) if whole else used,
                np.searchsorted(used, above[rows]),
                np.searchsorted(used, below[rows]),
                above_weight[rows, np.newaxis],
                below_weight[rows, np.newaxis],
            )
        )
    return tuple(found)


@lru_cache(maxsize=_SIZES)
def _across(source: int, target: int, channels: int, backwards: bool) -> tuple[NDArray[Any], ...]:
    """Channel by channel: where in a line the values left and right of each target column are, and their weights."""
    left, right, left_weight, right_weight = _taps(source, target, clamp_weights=True)
    order = np.arange(channels)[:: -1 if backwards else 1, np.newaxis]
    places = ((columns.astype(np.intp) * channels + order).ravel() for columns in (left, right))
    return *places, np.tile(left_weight, channels), np.tile(right_weight, channels)


def _taps(source: int, target: int, *, clamp_weights: bool) -> tuple[NDArray[np.int32], ...]:
    """For each target position its two source positions and their weights.

    clamp_weights   beyond an edge the whole weight goes to the edge: OpenCV's columns; its rows repeat instead
    """
    position = ((np.arange(target) + 0.5) * (1 / (target / source)) - 0.5).astype(np.float32)
    first = np.floor(position).astype(np.int32)
    fraction = position - first.astype(np.float32)
    if clamp_weights:
        fraction[(first < 0) | (first >= source - 1)] = 0
        first = first.clip(0, source - 1)
    weights = (
        np.rint((weight * np.float32(_ONE)).astype(np.float32)) for weight in (np.float32(1) - fraction, fraction)
    )
    first_weight, second_weight = (weight.astype(np.int32) for weight in weights)
    return first.clip(0, source - 1), (first + 1).clip(0, source - 1), first_weight, second_weight
