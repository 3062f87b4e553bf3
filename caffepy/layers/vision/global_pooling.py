"""Pooling with one window that is the whole image: the operations, on bottoms (planes, inner) and tops (planes)."""

import numpy as np

from caffepy.blob import Floats, Ints
from caffepy.kernels import kernel
from caffepy.layers.vision import pooling_plan

LOWEST = float(np.finfo(np.float32).min)
"""What a maximum starts from; only what is above it counts, so no infinity below and no NaN (Caffe: -FLT_MAX)."""


@kernel("global_pooling.cu", plan=pooling_plan.global_max_pool_forward)
def global_max_pool_forward(bottom_data: Floats, inner: int, mask: Ints, top_data: Floats) -> None:
    """top[p] = max over i of bottom[p, i]; mask[p] = the first such i, or -1"""
    image, top = bottom_data.reshape(-1, inner), top_data.reshape(-1)
    np.fmax.reduce(image, axis=1, out=top)
    found = top > LOWEST
    mask.reshape(-1)[...] = np.where(found, (image == top[:, None]).argmax(axis=1), -1)
    top[~found] = LOWEST


@kernel("global_pooling.cu", plan=pooling_plan.global_max_pool_backward)
def global_max_pool_backward(top_diff: Floats, mask: Ints, inner: int, bottom_diff: Floats) -> None:
    """bottom_diff[p, i] = top_diff[p] where mask[p] is i, else 0"""
    bottom_diff[...] = 0
    planes = np.flatnonzero(mask >= 0)
    bottom_diff.reshape(-1, inner)[planes, mask.reshape(-1)[planes]] = top_diff.reshape(-1)[planes]


@kernel("global_pooling.cu", plan=pooling_plan.global_ave_pool_forward)
def global_ave_pool_forward(bottom_data: Floats, inner: int, top_data: Floats) -> None:
    """top[p] = mean over i of bottom[p, i]"""
    np.mean(bottom_data.reshape(-1, inner), axis=1, out=top_data.reshape(-1))


@kernel("global_pooling.cu", plan=pooling_plan.global_ave_pool_backward)
def global_ave_pool_backward(top_diff: Floats, inner: int, bottom_diff: Floats) -> None:
    """bottom_diff[p, i] = top_diff[p] / inner"""
    bottom_diff.reshape(-1, inner)[...] = top_diff.reshape(-1, 1) / np.float32(inner)
