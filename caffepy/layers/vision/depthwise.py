"""Depthwise convolution, one image channel to a group: a sum of shifted planes, each times one weight per channel.

In the functions here images are (num, channels, *extent), tops (num, channels, outputs, *positions) and weights
(channels, outputs, taps).
"""

import numpy as np

from caffepy.blob import Floats
from caffepy.layers.vision.arranged import Shifts, cut


def forward(
    images: Floats, weight: Floats, bias: Floats | None, shifts: Shifts, workspace: Floats, tops: Floats
) -> None:
    """Overwrite the tops; bias is (channels, outputs, 1)."""
    for image, top in zip(images, tops, strict=True):
        for part in shifts.blocks(len(image)):
            arranged, results, term = _memory(shifts, part, workspace)
            shifts.arrange(image[part], arranged)
            for output in range(weight.shape[1]):
                results[...] = 0 if bias is None else bias[part, output]
                for tap, seen in enumerate(shifts.seen(arranged)):
                    np.multiply(seen.reshape(term.shape), weight[part, output, tap, None], out=term)
                    results += term
                top[part, output] = shifts.at_positions(results)


def backward(tops: Floats, weight: Floats, shifts: Shifts, workspace: Floats, images: Floats) -> None:
    """Overwrite the images with, for each pixel, the sum of weight * top over what saw it."""
    for image, top in zip(images, tops, strict=True):
        for part in shifts.blocks(len(image)):
            arranged, results, term = _memory(shifts, part, workspace)
            arranged[...] = 0
            for output in range(weight.shape[1]):
                shifts.spread(top[part, output], results)
                for tap, seen in enumerate(shifts.seen(arranged)):
                    np.multiply(results, weight[part, output, tap, None], out=term)
                    seen += term.reshape(-1)
            shifts.collect(arranged, image[part])


def backward_weights(images: Floats, tops: Floats, shifts: Shifts, workspace: Floats, weight_diff: Floats) -> None:
    """Add to the weights' diffs, for each tap, the sum of pixel * top over the positions."""
    for image, top in zip(images, tops, strict=True):
        for part in shifts.blocks(len(image)):
            arranged, results, _ = _memory(shifts, part, workspace)
            shifts.arrange(image[part], arranged)
            for output in range(weight_diff.shape[1]):
                shifts.spread(top[part, output], results)
                for tap, seen in enumerate(shifts.seen(arranged)):
                    weight_diff[part, output, tap] += np.einsum("ci,ci->c", seen.reshape(results.shape), results)


def workspace_count(channels: int, shifts: Shifts) -> int:
    """Elements of workspace that the functions need."""
    planes = shifts.together(channels)
    return shifts.arranged_count(planes) + 2 * planes * shifts.size


def _memory(shifts: Shifts, part: slice, workspace: Floats) -> list[Floats]:
    planes = part.stop - part.start
    return cut(workspace, (shifts.arranged_count(planes),), (planes, shifts.size), (planes, shifts.size))
