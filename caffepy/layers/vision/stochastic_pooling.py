"""Stochastic pooling (Zeiler & Fergus 2013): the operations. A value is drawn with a chance in proportion to itself.

They expect bottoms of at least 0 (Caffe: pooling_layer.cu, which alone has them).
"""

import numpy as np

from caffepy.blob import Floats, Ints
from caffepy.kernels import kernel
from caffepy.layers.vision import pooling_plan
from caffepy.layers.vision.arranged import Shifts, shifts_of
from caffepy.layers.vision.window import PoolingWindow

TINY = np.finfo(np.float32).tiny
"""What the sum under a window of weighted pooling starts from, so that zeros give zero (Caffe: FLT_MIN)."""


@kernel("stochastic_pooling.cu", plan=pooling_plan.stochastic_pool_forward)
def stochastic_pool_forward(
    bottom_data: Floats,
    seed: Ints,
    height: int,
    width: int,
    pooled_height: int,
    pooled_width: int,
    mask: Ints,
    top_data: Floats,
    *,
    window: PoolingWindow,
) -> None:
    """mask[o] = h * width + w of the first pixel at which the running sum is u[o] * sum of the window; top = that pixel

    u[o], uniform in [0, 1), is the o-th single of Philox 4x64 with 10 rounds and key seed[0] (Salmon et al. 2011).
    """
    image, top = bottom_data.reshape(-1, height, width), top_data.reshape(-1, pooled_height, pooled_width)
    shifts = shifts_of(height, width, pooled_height, pooled_width, window)
    seen = shifts.seen(_arranged(shifts, image))
    index = _arranged(shifts, np.arange(height * width, dtype=np.float32).reshape(1, height, width), -1)
    threshold, running, drawn, places = np.zeros((4, len(image) * shifts.size), np.float32)
    places -= 1
    uniform = np.random.Generator(np.random.Philox(key=int(seed[0]))).random(top.shape, np.float32)
    shifts.spread(uniform, threshold)
    threshold *= sum(seen)
    for values, where in zip(seen, shifts.seen(index), strict=True):
        running += values
        reached = (running >= threshold) & (places < 0)
        np.copyto(drawn, values, where=reached)
        np.copyto(places, np.tile(where, len(image)), where=reached)
    top[...], mask.reshape(top.shape)[...] = shifts.at_positions(drawn), shifts.at_positions(places)


@kernel("stochastic_pooling.cu", plan=pooling_plan.weighted_pool_forward)
def weighted_pool_forward(
    bottom_data: Floats,
    height: int,
    width: int,
    pooled_height: int,
    pooled_width: int,
    top_data: Floats,
    *,
    window: PoolingWindow,
) -> None:
    """top = sum of bottom^2 / sum of bottom, over the window"""
    image, top = bottom_data.reshape(-1, height, width), top_data.reshape(-1, pooled_height, pooled_width)
    shifts = shifts_of(height, width, pooled_height, pooled_width, window)
    total, squares = _sums(shifts, _arranged(shifts, image))
    np.divide(shifts.at_positions(squares), shifts.at_positions(total), out=top)


@kernel("stochastic_pooling.cu", plan=pooling_plan.weighted_pool_backward)
def weighted_pool_backward(
    bottom_data: Floats,
    top_diff: Floats,
    height: int,
    width: int,
    pooled_height: int,
    pooled_width: int,
    bottom_diff: Floats,
    *,
    window: PoolingWindow,
) -> None:
    """bottom_diff = the sum over the windows of top_diff * (2 bottom - top) / sum of bottom"""
    image, diff = bottom_data.reshape(-1, height, width), bottom_diff.reshape(-1, height, width)
    shifts = shifts_of(height, width, pooled_height, pooled_width, window)
    arranged = _arranged(shifts, image)
    arranged_diff = np.zeros_like(arranged)
    total, squares = _sums(shifts, arranged)
    factor = np.empty_like(total)
    shifts.spread(top_diff.reshape(-1, pooled_height, pooled_width), factor)
    factor /= total
    top = squares / total
    for seen, seen_diff in zip(shifts.seen(arranged), shifts.seen(arranged_diff), strict=True):
        seen_diff += factor * (2 * seen - top)
    shifts.collect(arranged_diff, diff)


def _arranged(shifts: Shifts, image: Floats, padding: float = 0) -> Floats:
    arranged = np.empty(shifts.arranged_count(len(image)), np.float32)
    shifts.arrange(image, arranged, padding)
    return arranged


def _sums(shifts: Shifts, arranged: Floats) -> tuple[Floats, Floats]:
    seen = shifts.seen(arranged)
    total, squares = np.full_like(seen[0], TINY), np.zeros_like(seen[0])
    for values in seen:
        total += values
        squares += values * values
    return total, squares
