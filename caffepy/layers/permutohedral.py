"""Gaussian filters of high dimension on the permutohedral lattice (Adams, Baek & Davis 2010, Eurographics)."""

import numpy as np
from numpy.typing import NDArray

from caffepy.blob import Floats

Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]


class Lattice:
    """A filter out[i] = sum over j of about exp(-|f_i - f_j|^2 / 2) * values[j], up to a factor, in linear time.

    Points spread their values over the corners of the simplex they lie in, those are blurred along each of the
    lattice's directions, and points gather them again. features: (points, dimensions).
    """

    def __init__(self, features: Floats) -> None:
        points, dimensions = features.shape
        elevated = features.astype(np.float64) @ _elevation(dimensions).T
        origin, rank = _simplex(elevated)
        self._weights = _barycentric(elevated, origin, rank)
        corners = np.arange(dimensions + 1)
        # From the simplex's origin to its corner k: k, or k - dimensions - 1 where the rank is high.
        steps = corners[:, None] - (dimensions + 1) * (corners[None, :] > dimensions - corners[:, None])
        keys = origin[:, None, :dimensions] + steps.T[rank[:, :dimensions]].transpose(0, 2, 1)
        code = _Code(keys, dimensions)
        codes, corner = np.unique(code.of(keys).reshape(-1), return_inverse=True)
        self._corner = corner.reshape(points, dimensions + 1)
        self._count = len(codes)
        self._neighbours = [code.neighbours(codes, axis) for axis in range(dimensions + 1)]
        self._factor = 1 / (1 + 2.0**-dimensions)

    def filter(self, values: Floats, *, transposed: bool = False) -> Floats:
        """(channels, points) -> the same; `transposed` is the filter's derivative."""
        corners = self._corner.reshape(-1)
        spread = np.zeros((self._count + 1, len(values)))
        for channel, row in enumerate(values):
            weighted = (self._weights * row[:, None]).reshape(-1)
            spread[:-1, channel] = np.bincount(corners, weighted, self._count)
        for before, after in reversed(self._neighbours) if transposed else self._neighbours:
            spread[:-1] += 0.5 * (spread[before] + spread[after])
        out = np.zeros((len(self._corner), len(values)))
        for weight, corner in zip(self._weights.T, self._corner.T, strict=True):
            out += weight[:, None] * spread[corner]
        return np.ascontiguousarray(self._factor * out.T, np.float32)


def _elevation(dimensions: int) -> Doubles:
    """(dimensions + 1, dimensions): into the plane of coordinates that add up to 0, where the blur's deviation is 1."""
    axes = np.arange(1, dimensions + 1)
    matrix = np.vstack([np.ones(dimensions), np.triu(np.ones((dimensions, dimensions)), 1) - np.diag(axes)])
    scale = np.sqrt(2 / 3) * (dimensions + 1) / np.sqrt(axes * (axes + 1))
    return np.asarray(matrix * scale)


def _simplex(elevated: Doubles) -> tuple[Indices, Indices]:
    """The corner of remainder 0 of each point's simplex, and the order of the point's coordinates beyond it."""
    size = elevated.shape[1]
    origin = np.rint(elevated / size).astype(np.int64) * size
    rank = np.argsort(np.argsort(origin - elevated, axis=1, kind="stable"), axis=1, kind="stable")
    rank += origin.sum(axis=1, keepdims=True) // size
    low, high = rank < 0, rank >= size
    rank += size * (low.astype(np.int64) - high)
    origin += size * (low.astype(np.int64) - high)
    return origin, rank


def _barycentric(elevated: Doubles, origin: Indices, rank: Indices) -> Doubles:
    """(points, dimensions + 1): a point's weights at the corners of its simplex."""
    points, size = elevated.shape
    sorted_beyond = np.zeros((points, size + 1))
    beyond = (elevated - origin) / size
    rows = np.arange(points)[:, None]
    np.add.at(sorted_beyond, (rows, size - 1 - rank), beyond)
    np.add.at(sorted_beyond, (rows, size - rank), -beyond)
    sorted_beyond[:, 0] += 1 + sorted_beyond[:, size]
    return sorted_beyond[:, :size]


class _Code:
    """Lattice points, (..., dimensions) whole numbers, as single numbers, and whose neighbours they are."""

    def __init__(self, keys: Indices, dimensions: int) -> None:
        self._dimensions = dimensions
        flat = keys.reshape(-1, dimensions)
        self._least = flat.min(axis=0) - dimensions - 1
        extents = flat.max(axis=0) + dimensions + 2 - self._least
        self._strides = np.append(np.cumprod(extents[::-1])[::-1][1:], 1).astype(np.int64)

    def of(self, keys: Indices) -> Indices:
        return np.asarray((keys - self._least) @ self._strides)

    def neighbours(self, codes: Indices, axis: int) -> tuple[Indices, Indices]:
        """Where in sorted `codes` the two neighbours along an axis are; len(codes) where there is none."""
        step = np.full(self._dimensions, -1, np.int64)
        if axis < self._dimensions:
            step[axis] = self._dimensions
        distance = int(step @ self._strides)
        return _find(codes, codes - distance), _find(codes, codes + distance)


def _find(codes: Indices, wanted: Indices) -> Indices:
    place = np.searchsorted(codes, wanted)
    there = codes[np.minimum(place, len(codes) - 1)] == wanted
    return np.where(there, place, len(codes))
