"""Bilinear resizing of eight-bit pictures in OpenCV's fixed-point arithmetic (cv::resize, INTER_LINEAR)."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""(height, width, channels), channels in the order blue, green, red, alpha; or (height, width) of a grey one."""

_ONE = 2048
"""A weight of 1."""


def resize(picture: Picture, height: int, width: int) -> Picture:
    """(any, any[, channels]) -> (height, width[, channels]): every byte as OpenCV's.

    Each axis samples at (i + 0.5) * scale - 0.5, with weights rounded to 1/2048; a picture halved exactly is, as in
    OpenCV, the mean of its 2 x 2 blocks.
    """
    rows, columns = picture.shape[:2]
    if (rows, columns) == (height, width):
        return picture
    if (rows, columns) == (2 * height, 2 * width):
        wide = picture.astype(np.uint16)
        pairs = wide[::2] + wide[1::2]
        return (pairs[:, ::2] + pairs[:, 1::2] + 2 >> 2).astype(np.uint8)
    above, below, above_weight, below_weight = _taps(rows, height, clamp_weights=False)
    left, right, left_weight, right_weight = _taps(columns, width, clamp_weights=True)
    used = np.unique(np.concatenate([above, below]))
    channels = math.prod(picture.shape[2:])
    flat = (picture if len(used) == rows else picture[used]).reshape(len(used), columns * channels)
    lines = _weighted(flat, _spread(left, channels), np.repeat(left_weight, channels), 1)
    lines += _weighted(flat, _spread(right, channels), np.repeat(right_weight, channels), 1)
    lines >>= 4
    upper = _weighted(lines, np.searchsorted(used, above), above_weight[:, np.newaxis], 0)
    upper >>= 16
    lower = _weighted(lines, np.searchsorted(used, below), below_weight[:, np.newaxis], 0)
    lower >>= 16
    upper += lower
    upper += 2
    upper >>= 2
    return upper.astype(np.uint8).reshape(height, width, *picture.shape[2:])


def _spread(columns: NDArray[np.int32], channels: int) -> NDArray[np.int64]:
    """Where the values of these columns are in a line of pixels of so many channels."""
    return (columns[:, np.newaxis] * np.int64(channels) + np.arange(channels)).ravel()


def _weighted(lines: NDArray[Any], taken: NDArray[Any], weights: NDArray[np.int32], axis: int) -> NDArray[np.int32]:
    """The lines or columns taken, times their weights."""
    found = lines.take(taken, axis=axis).astype(np.int32, copy=False)
    found *= weights
    return found


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
