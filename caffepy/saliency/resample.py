"""Images and maps resized or blurred on the device: linear maps along their rows, then along their columns."""

import functools
from typing import Any

import numpy as np

from caffepy.blob import Floats
from caffepy.saliency.operations import mix_forward
from caffepy.saliency.subject import uploaded, zeros


def resized(maps: Any, height: int, width: int) -> Any:
    """(..., h, w) -> (..., height, width), bilinear between the centres of pixels, as OpenCV's and PyTorch's."""
    return mixed(maps, bilinear(maps.shape[-2], height), bilinear(maps.shape[-1], width))


def blurred(images: Any, sigma: float) -> Any:
    """Images (..., height, width) averaged with a Gaussian of `sigma` pixels; beyond the edges counts for nothing."""
    return mixed(images, gaussian(images.shape[-2], sigma), gaussian(images.shape[-1], sigma))


@functools.lru_cache(maxsize=256)
def bilinear(source: int, target: int) -> Floats:
    """(target, source): what each sample takes of the old ones."""
    at = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    low = np.minimum(at.astype(int), max(0, source - 2))
    weights = np.zeros((target, source), np.float32)
    weights[np.arange(target), low] += 1 - (at - low)
    if source > 1:
        weights[np.arange(target), low + 1] += at - low
    return weights


@functools.lru_cache(maxsize=256)
def gaussian(size: int, sigma: float) -> Floats:
    """(size, size): what each sample takes of all; with sigma 0 itself."""
    if sigma <= 0:
        return np.eye(size, dtype=np.float32)
    distance = np.subtract.outer(np.arange(size), np.arange(size))
    weights = np.exp(-0.5 * (distance / sigma) ** 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def mixed(images: Any, rows: Floats, columns: Floats) -> Any:
    """(..., h, w) -> (..., len(rows), len(columns)): rows @ image @ columns^T."""
    *outer, height, width = images.shape
    tall = zeros((*outer, len(rows), width))
    mix_forward(images, uploaded(rows), height, len(rows), width, tall)
    wide = zeros((*outer, len(rows), len(columns)))
    mix_forward(tall, uploaded(columns), width, len(columns), 1, wide)
    return wide
