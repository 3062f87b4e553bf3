"""Pooling with one window that is the whole image: the operations, on bottoms (planes, inner) and tops (planes)."""

import numpy as np

from caffepy.blob import Floats
from caffepy.kernels import kernel

LOWEST = float(np.finfo(np.float32).min)
"""What a maximum starts from; only what is above it counts, so no infinity below and no NaN (Caffe: -FLT_MAX)."""


@kernel("pooling.cu", per=None)
def global_max_pool_forward(bottom_data: Floats, inner: int, top_data: Floats) -> None:
    """top[p] = max over i of bottom[p, i]"""
    top = top_data.reshape(-1)
    np.fmax.reduce(bottom_data.reshape(-1, inner), axis=1, out=top)
    np.fmax(top, LOWEST, out=top)


@kernel("pooling.cu", per=None)
def global_max_pool_mask(bottom_data: Floats, inner: int, mask_data: Floats) -> None:
    """mask[p] = the first i whose bottom[p, i] is the maximum; -1 without one"""
    index, found = _winners(bottom_data.reshape(-1, inner))
    mask_data.reshape(-1)[...] = np.where(found, index, -1)


@kernel("pooling.cu", per=None)
def global_max_pool_backward(bottom_data: Floats, top_diff: Floats, inner: int, bottom_diff: Floats) -> None:
    """bottom_diff[p, i] = top_diff[p] at the maximum's place, else 0"""
    index, found = _winners(bottom_data.reshape(-1, inner))
    bottom_diff[...] = 0
    planes = np.flatnonzero(found)
    bottom_diff.reshape(-1, inner)[planes, index[planes]] = top_diff.reshape(-1)[planes]


@kernel("pooling.cu", per=None)
def global_ave_pool_forward(bottom_data: Floats, inner: int, top_data: Floats) -> None:
    """top[p] = mean over i of bottom[p, i]"""
    np.mean(bottom_data.reshape(-1, inner), axis=1, out=top_data.reshape(-1))


@kernel("pooling.cu", per="bottom_diff")
def global_ave_pool_backward(top_diff: Floats, inner: int, bottom_diff: Floats) -> None:
    """bottom_diff[p, i] = top_diff[p] / inner"""
    bottom_diff.reshape(-1, inner)[...] = top_diff.reshape(-1, 1) / np.float32(inner)


def _winners(image: Floats) -> tuple[np.ndarray, np.ndarray]:
    maxima = np.fmax.reduce(image, axis=1)
    return (image == maxima[:, None]).argmax(axis=1), maxima > LOWEST
