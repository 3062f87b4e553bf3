"""Gaussian filtering in many dimensions, on the permutohedral lattice (Adams, Baek, Davis 2010)."""

import math

import numpy as np
from numpy.typing import NDArray

from caffepy.blob import Floats

Places = NDArray[np.int64]
_FARTHEST = 2.0**32
"""Standard deviations from 0: further off, double precision misses the simplex."""


class Lattice:
    """The lattice points around features (n, d), which are in units of the Gaussian's standard deviation.

    Every feature lies in a simplex of d + 1 lattice points. `filter` adds values to them, weighted by the feature's
    barycentric coordinates, blurs along the d + 1 axes of the lattice, and reads the values there again. Raises
    OverflowError where the lattice is too wide for its points to be numbered.
    """

    def __init__(self, features: Floats) -> None:
        d = features.shape[1]
        nearest, rank, self._weights = _simplex(features)
        steps = np.arange(d + 1)
        corners = np.where(rank[:, None] <= d - steps[:, None], steps[:, None], steps[:, None] - (d + 1))
        keys = (nearest[:, None] + corners)[..., :d]
        low = keys.min(axis=(0, 1)) - d - 1
        extents = [int(e) for e in keys.max(axis=(0, 1)) + d + 2 - low]
        if math.prod(extents) >= 2**63:
            raise OverflowError(f"a lattice of {' x '.join(map(str, extents))} points")
        radix = np.array([math.prod(extents[i + 1 :]) for i in range(d)], np.int64)
        points, inverse = np.unique((keys - low) @ radix, return_inverse=True)
        self._points: Places = inverse.reshape(keys.shape[:2])
        self._size = len(points)
        self._neighbours = [
            [self._find(points, points + sign * move) for sign in (1, -1)]
            for move in (*((d + 1) * radix - radix.sum()), -radix.sum())
        ]

    def _find(self, points: Places, wanted: Places) -> Places:
        """Where the wanted points stand among the points; behind all of them if they are not there."""
        at = np.searchsorted(points, wanted).clip(max=self._size - 1)
        return np.where(points[at] == wanted, at, self._size)

    def filter(self, values: Floats, reverse: bool = False) -> Floats:
        """(channels, n): the values' sums over all features, weighted about by the Gaussian of their distance.

        With `reverse` the axes take turns from the last on: the transpose.
        """
        d = len(self._neighbours) - 1
        result = np.empty_like(values)
        for value, filtered in zip(values, result, strict=True):
            weighted = self._weights * value[:, None]
            held = np.bincount(self._points.reshape(-1), weighted.reshape(-1), self._size + 1).astype(np.float32)
            for before, after in self._neighbours[::-1] if reverse else self._neighbours:
                held[:-1] += np.float32(0.5) * (held[before] + held[after])
            filtered[...] = np.einsum("nk,nk->n", self._weights, held[self._points]) / (1 + 2.0**-d)
        return result


def _simplex(features: Floats) -> tuple[Places, Places, Floats]:
    """For each feature (n, d): the nearest lattice point whose coordinates are multiples of d + 1; the ranks of its
    coordinates' distances from it, greatest first; barycentric coordinates. All (n, d + 1)."""
    n, d = features.shape
    axes = np.arange(1, d + 1)
    factors = math.sqrt(2 / 3) * (d + 1) / np.sqrt(axes * (axes + 1))
    scaled = features.astype(np.float64) * factors  # float32 would miss the simplex of features far from 0
    if not (np.abs(scaled) < _FARTHEST).all():
        raise OverflowError("whose features are no numbers, or out of reach")
    elevated = np.zeros((n, d + 1))
    elevated[:, :d] = np.cumsum(scaled[:, ::-1], axis=1)[:, ::-1]
    elevated[:, 1:] -= axes * scaled
    rounded = np.rint(elevated / (d + 1)).astype(np.int64)
    nearest = rounded * (d + 1)
    order = np.argsort(nearest - elevated, axis=1, kind="stable")
    rank = np.argsort(order, axis=1, kind="stable") + rounded.sum(axis=1, keepdims=True)
    beyond = np.where(rank < 0, d + 1, np.where(rank > d, -(d + 1), 0))
    rank, nearest = rank + beyond, nearest + beyond
    parts = np.zeros((n, d + 2), np.float32)
    share = ((elevated - nearest) / (d + 1)).astype(np.float32)
    np.put_along_axis(parts, d - rank, share, axis=1)
    parts[:, 1:] -= np.take_along_axis(share, np.argsort(d - rank, axis=1), axis=1)
    parts[:, 0] += 1 + parts[:, d + 1]
    return nearest, rank, parts[:, : d + 1]
