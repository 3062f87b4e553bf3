"""Launches of LRN: across channels a thread for each strip of channels, within one a thread for each value."""

from collections.abc import Mapping
from typing import Any

from caffepy.kernels import THREADS, Launch
from caffepy.layers.vision.pooling_plan import blocks

STRIP = 8
"""Channels of a thread. For local_size 5 it loads 12; twice the strip would leave half the threads at batch 1."""
PIXELS, STRIPS = 64, 4
"""A block's threads. Strips one after the other load the same channels at their ends, here from the first cache."""

_FORWARD = {"strip": STRIP}
_BACKWARD = {"strip": STRIP, "k": 0.0}  # the file's forward kernels, which read k, must compile here too


def forward(
    bottom_data: Any, channels: int, height: int, width: int, *_: Any, within: bool, **constants: Any
) -> list[Launch]:
    """What lrn_forward launches."""
    count = bottom_data.size
    if not count:
        return []
    if within:
        plane = "bottom_data", "height", "width", "scale", "top_data"
        return [_within("lrn_within_forward", count, height, width, plane, _FORWARD)]
    image = "bottom_data", "channels", "height", "width", "scale", "top_data"
    return [_across("lrn_across_forward", count, channels, height * width, image, _FORWARD)]


def backward(
    bottom_data: Any,
    scale: Any,
    top_diff: Any,
    channels: int,
    height: int,
    width: int,
    *_: Any,
    within: bool,
    **constants: Any,
) -> list[Launch]:
    """What lrn_backward launches."""
    count = bottom_data.size
    if not count:
        return []
    read = "bottom_data", "scale", "top_diff"
    if within:
        ratio = Launch("lrn_within_ratio", (-(-count // THREADS),), (THREADS,), (count, *read, "workspace"), _BACKWARD)
        plane = *read, "height", "width", "workspace", "bottom_diff"
        return [ratio, _within("lrn_within_backward", count, height, width, plane, _BACKWARD)]
    image = *read, "channels", "height", "width", "bottom_diff"
    return [_across("lrn_across_backward", count, channels, height * width, image, _BACKWARD)]


def _across(
    entry: str, count: int, channels: int, inner: int, arguments: tuple[str, ...], constants: Mapping[str, float]
) -> Launch:
    blocks_of_pixels = -(-inner // PIXELS)
    grid = count // (channels * inner) * blocks_of_pixels, -(-channels // (STRIP * STRIPS))
    return Launch(entry, grid, (PIXELS, STRIPS), (blocks_of_pixels, *arguments), constants)


def _within(
    entry: str, count: int, height: int, width: int, arguments: tuple[str, ...], constants: Mapping[str, float]
) -> Launch:
    planes = count // (height * width)
    grid, block = blocks(planes, height, width, threads=THREADS, widest=64)
    return Launch(entry, grid, block, (planes, *arguments), constants)
