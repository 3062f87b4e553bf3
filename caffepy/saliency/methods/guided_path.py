"""The path of guided integrated gradients: values of small gradients move first, near the straight path.

Kapishnikov, Venugopalan, Avci, Wedin, Terry & Bolukbasi 2021, "Guided Integrated Gradients", CVPR, algorithm 1.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from caffepy.blob import Floats

Doubles = npt.NDArray[np.float64]


def attributions(
    image: Floats, baseline: Floats, gradient: Callable[[Floats], Floats], steps: int, fraction: float, distance: float
) -> Floats:
    """Each value's share of S(image) - S(baseline); `gradient` is of one image."""
    end, start = image.astype(np.float64), baseline.astype(np.float64)
    x, shares, whole = start.copy(), np.zeros_like(end), np.abs(end - start).sum()
    if whole == 0:
        return shares.astype(np.float32)
    for step in range(1, steps + 1):
        slope = gradient(x.astype(np.float32)).astype(np.float64)
        before = x.copy()
        _advance(x, slope, start, end, step / steps, whole, fraction, distance)
        shares += (x - before) * slope
    return shares.astype(np.float32)


def _advance(
    x: Doubles,
    slope: Doubles,
    start: Doubles,
    end: Doubles,
    alpha: float,
    whole: float,
    fraction: float,
    distance: float,
) -> None:
    """Move x until no more than 1 - alpha of the way, as the sum of absolute differences, is left."""
    nearest, furthest = (start + at * (end - start) for at in (max(alpha - distance, 0), min(alpha + distance, 1)))
    left = whole * (1 - alpha)
    size = np.abs(slope)
    behind = np.abs(x - start) < np.abs(nearest - start)
    x[behind] = nearest[behind]
    while True:
        too_far = np.abs(end - x).sum() - left
        movable = (x != furthest) & (np.abs(furthest - start) > np.abs(x - start))
        if too_far <= 1e-9 * whole or not movable.any():
            return
        threshold = np.quantile(size[movable], fraction, method="lower")
        chosen = movable & (size <= threshold)
        possible = np.abs(furthest - x)[chosen].sum()
        if too_far >= possible:
            x[chosen] = furthest[chosen]
        else:
            x[chosen] += (furthest - x)[chosen] * (too_far / possible)
            return
