"""Depthwise convolution, one image channel to a group: for each channel, a product of few weights and many columns.

In the functions here images are (num, channels, *extent), tops (num, channels, outputs, *positions) and weights
(channels, outputs, *kernel). Some channels of some images are worked on at a time, so that their columns stay in the
cache: of several images where planes are small, because a channel costs NumPy the same for one position and for many.
"""

import math
from collections.abc import Iterator

import numpy as np

from caffepy.blob import Floats, Shape
from caffepy.layers.vision.arranged import RUN, Shifts, cut

Part = tuple[slice, slice]
"""Which images, and which channels of them."""


def forward(
    images: Floats, weight: Floats, bias: Floats | None, shifts: Shifts, workspace: Floats, tops: Floats
) -> None:
    """Overwrite the tops; bias is (channels, outputs)."""
    for part in _parts(images.shape, shifts):
        image, top, factors = _images(images, part), _tops(tops, part), weight[part[1]]
        arranged, columns, results = _memory(image.shape[:2], weight.shape[1:], shifts, workspace)
        shifts.arrange(image, arranged)
        products = results[shifts.slack :].reshape(*factors.shape[:2], -1)
        np.matmul(_by_channel(factors), _unfold(shifts, arranged, factors, columns), out=products)
        top[...] = shifts.at_positions(products.reshape(*top.shape[:3], -1))
        if bias is not None:
            top += bias[part[1]].reshape(*top.shape[:2], *[1] * (top.ndim - 2))


def backward(tops: Floats, weight: Floats, shifts: Shifts, workspace: Floats, images: Floats) -> None:
    """Overwrite the images with, for each pixel, the sum of weight * top over what saw it."""
    for part in _parts(images.shape, shifts):
        image, top, factors = _images(images, part), _tops(tops, part), weight[part[1]]
        (channels, outputs), axes = top.shape[:2], weight.ndim - 2
        arranged, columns, results = _memory(image.shape[:2], weight.shape[1:], shifts, workspace)
        _spread(top, shifts, results)
        runs = arranged[: arranged.size - shifts.slack].reshape(-1, channels, 1, image.shape[1] * shifts.size)
        for run, (taps, seeing) in zip(runs, shifts.behind(results), strict=True):
            given = factors[(slice(None), slice(None), *taps)].reshape(channels, 1, -1)
            matrix = columns[: given.size * run.shape[-1]].reshape(channels, outputs, *seeing.shape[:-1], -1)
            seeing = seeing.reshape(*seeing.shape[:-1], channels, outputs, -1)
            matrix[...] = seeing.transpose(axes, axes + 1, *range(axes), axes + 2)
            np.matmul(given, matrix.reshape(channels, given.shape[-1], -1), out=run)
        shifts.collect(arranged, image)


def backward_weights(images: Floats, tops: Floats, shifts: Shifts, workspace: Floats, weight_diff: Floats) -> None:
    """Add to the weights' diffs, for each tap, the sum of pixel * top over the positions."""
    for part in _parts(images.shape, shifts):
        image, top, total = _images(images, part), _tops(tops, part), weight_diff[part[1]]
        arranged, columns, results = _memory(image.shape[:2], weight_diff.shape[1:], shifts, workspace)
        shifts.arrange(image, arranged)
        _spread(top, shifts, results)
        matrix = _unfold(shifts, arranged, total, columns)
        products = np.matmul(matrix, results[shifts.slack :].reshape(*total.shape[:2], -1).swapaxes(1, 2))
        total += products.swapaxes(1, 2).reshape(total.shape)


def workspace_count(num: int, channels: int, weight_shape: Shape, shifts: Shifts) -> int:
    """Elements of workspace that the functions need, for weights (outputs, *kernel) of each channel."""
    return sum(_counts(_together((num, channels), shifts), weight_shape, shifts))


def _together(images: Shape, shifts: Shifts) -> tuple[int, int]:
    """How many images, and channels of them, go together at most."""
    num, channels = images[:2]
    num = max(1, min(num, RUN // shifts.size))
    return num, max(1, min(channels, shifts.together(num * channels) // num))


def _parts(images: Shape, shifts: Shifts) -> Iterator[Part]:
    num, channels = _together(images, shifts)
    for n in range(0, images[0], num):
        for c in range(0, images[1], channels):
            yield slice(n, n + num), slice(c, c + channels)


def _images(images: Floats, part: Part) -> Floats:
    """(channels, num, *extent)"""
    return images[part].swapaxes(0, 1)


def _tops(tops: Floats, part: Part) -> Floats:
    """(channels, outputs, num, *positions)"""
    return tops[part].transpose(1, 2, 0, *range(3, tops.ndim))


def _by_channel(weight: Floats) -> Floats:
    """(channels, outputs, taps)"""
    return weight.reshape(*weight.shape[:2], -1)


def _unfold(shifts: Shifts, arranged: Floats, weight: Floats, columns: Floats) -> Floats:
    """What each channel's positions see through each tap: (channels, taps, columns)."""
    channels, kernel = len(weight), weight.shape[2:]
    count = shifts.seen_count(arranged)
    matrix = columns[: math.prod(kernel) * count].reshape(channels, *kernel, -1)
    for taps, seen in shifts.windows(arranged):
        seen = seen.reshape(*seen.shape[:-1], channels, -1)
        matrix[(slice(None), *taps)] = seen.transpose(len(kernel), *range(len(kernel)), len(kernel) + 1)
    return matrix.reshape(channels, math.prod(kernel), -1)


def _spread(top: Floats, shifts: Shifts, results: Floats) -> None:
    """Write the tops among zeros: `slack` first, then (channels, outputs, num, size)."""
    results[...] = 0
    shifts.at_positions(results[shifts.slack :].reshape(*top.shape[:3], -1))[...] = top


def _counts(together: tuple[int, int], weight_shape: Shape, shifts: Shifts) -> tuple[int, int, int]:
    """Elements of arranged planes, of columns and of results, for so many images and channels."""
    planes, (outputs, *kernel) = math.prod(together), weight_shape
    return (
        shifts.arranged_count(planes),
        planes * outputs * math.prod(kernel) * shifts.size,
        shifts.slack + planes * outputs * shifts.size,
    )


def _memory(planes: Shape, weight_shape: Shape, shifts: Shifts, workspace: Floats) -> list[Floats]:
    return cut(workspace, *((count,) for count in _counts((planes[1], planes[0]), weight_shape, shifts)))
