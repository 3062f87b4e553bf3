"""Operations of the search for a mask: its places, how they make it, and how they move."""

import numpy as np

from caffepy.blob import Floats
from caffepy.kernels import kernel


@kernel("mask_search.cu", rows="mask")
def soft_maximum(places: Floats, fading: Floats, sharp: float, across: int, mask: Floats, level: Floats) -> None:
    """mask[k, i] = sum over j of w_ij * seen_ij, seen_ij = fading[i, j] * places[k, j], w_ij = exp(sharp * seen_ij -
    level[k, i]), which add up to 1"""
    seen = places.reshape(-1, 1, across) * fading.reshape(1, across, across)
    most = seen.max(axis=2, keepdims=True)
    weights = np.exp(np.float32(sharp) * (seen - most))
    total = weights.sum(axis=2)
    mask.reshape(-1, across)[...] = (weights * seen).sum(axis=2) / total
    level.reshape(-1, across)[...] = np.float32(sharp) * most[:, :, 0] + np.log(total)


@kernel("mask_search.cu", rows="places_diff")
def soft_maximum_backward(
    places: Floats,
    fading: Floats,
    sharp: float,
    across: int,
    mask: Floats,
    level: Floats,
    mask_diff: Floats,
    places_diff: Floats,
) -> None:
    """places_diff[k, j] = sum over i of mask_diff[k, i] * w_ij * (1 + sharp * (seen_ij - mask[k, i])) * fading[i, j]"""
    fade, by = fading.reshape(1, across, across), np.float32(sharp)
    seen = places.reshape(-1, 1, across) * fade
    weights = np.exp(by * seen - level.reshape(-1, across, 1))
    slopes = weights * (1 + by * (seen - mask.reshape(-1, across, 1))) * fade
    np.einsum("ki,kij->kj", mask_diff.reshape(-1, across), slopes, out=places_diff.reshape(-1, across))


@kernel("mask_search.cu", per="diff")
def area_backward(mask: Floats, across: int, kept: int, weight: float, diff: Floats) -> None:
    """diff[k, i] -= weight * (mask[k, i] - (1 where it is among the `kept` greatest of its mask, else 0))"""
    for values, slope in zip(mask.reshape(-1, across), diff.reshape(-1, across), strict=True):
        wanted = np.zeros_like(values)
        wanted[np.argsort(values, kind="stable")[across - kept :]] = 1
        slope -= np.float32(weight) * (values - wanted)


@kernel("mask_search.cu", per="values")
def adam_climb(
    diff: Floats,
    rate: float,
    first_share: float,
    second_share: float,
    turn: int,
    first: Floats,
    second: Floats,
    values: Floats,
) -> None:
    """A step of Adam upward, between 0 and 1; `turn` from 1."""
    first *= np.float32(first_share)
    first += np.float32(1 - first_share) * diff
    second *= np.float32(second_share)
    second += np.float32(1 - second_share) * np.square(diff)
    mean, square = first / np.float32(1 - first_share**turn), second / np.float32(1 - second_share**turn)
    values += np.float32(rate) * mean / (np.sqrt(square) + np.float32(1e-12))
    np.clip(values, 0, 1, out=values)
