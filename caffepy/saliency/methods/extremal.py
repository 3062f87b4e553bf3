"""Extremal perturbations: the region of a given area that keeps the score highest.

Fong, Patrick & Vedaldi 2019, "Understanding Deep Networks via Extremal Perturbations and Smooth Masks", 1910.08485.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from caffepy.blob import Floats
from caffepy.errors import ArgumentError
from caffepy.saliency.method import method
from caffepy.saliency.operations import blend_forward, channel_sum_forward, product_of, weighted_powers
from caffepy.saliency.resample import bilinear, blurred
from caffepy.saliency.subject import Subject, downloaded, uploaded, zeros


@method("extremal-perturbation", "largest")
def extremal_perturbation(
    subject: Subject, area: float = 0.1, iterations: int = 300, grid: int = 28, blur: float = 0.09, reach: float = 0.06
) -> list[Any]:
    """The mask m of that area, smooth, for which S(m x + (1 - m) x blurred) is highest.

    area        the part of the image that is kept
    iterations  steps of Adam, the area's weight growing from step to step
    grid        places along each side that the mask is made of, smoothed by a soft maximum
    blur        of what takes the place of the rest: standard deviation in parts of the longer side
    reach       of a place: standard deviation in parts of the side
    """
    subject.at_input("extremal-perturbation")
    if not 0 < area < 1 or iterations < 1 or grid < 2:
        raise ArgumentError(f"area is {area}, iterations {iterations}, grid {grid}; give 0 to 1, at least 1 and 2")
    results = []
    background = blurred(subject.images, blur * max(subject.shape[2:]))
    scores = subject.scores()
    smooth = _Smooth(grid, reach * grid)
    up = bilinear(grid, subject.shape[2]), bilinear(grid, subject.shape[3])
    for g, goal in enumerate(subject.goals):
        maps = []
        for n in range(subject.shape[0]):
            alone = replace(subject, images=subject.images[n : n + 1], goals=[goal.take([n])])
            size = max(abs(float(scores[g, n])), 1e-6)
            maps.append(_search(alone, background[n : n + 1], size, area, iterations, smooth, up))
        results.append(uploaded(np.stack(maps)))
    return results


def _search(
    subject: Subject,
    background: Any,
    size: float,
    area: float,
    iterations: int,
    smooth: "_Smooth",
    up: tuple[Floats, Floats],
) -> Floats:
    """(height, width): the mask, by gradient ascent on its places."""
    channels, height, width = subject.shape[1:]
    step = zeros(subject.shape)
    weighted_powers(subject.images, uploaded([1]), 1, 1, step)
    weighted_powers(background, uploaded([-1]), 1, 1, step)
    places = np.full(smooth.grid**2, 0.5)
    first, second = np.zeros_like(places), np.zeros_like(places)
    ideal = np.arange(places.size) >= round((1 - area) * places.size)
    for turn in range(1, iterations + 1):
        mask = smooth.of(places)
        wide = (up[0] @ mask.reshape(smooth.grid, -1) @ up[1].T).astype(np.float32)
        mixed, by_mask = zeros(subject.shape), zeros((1, height, width))
        blend_forward(subject.images, background, uploaded(wide[np.newaxis]), channels, height * width, mixed)
        gradient = subject.on(mixed, [0]).gradients()[0]
        product_of(gradient, step, gradient)
        channel_sum_forward(gradient, None, channels, height * width, 0, by_mask)
        of_mask = (up[0].T @ downloaded(by_mask)[0] @ up[1]).ravel() / size
        order, wanted = np.argsort(mask), np.zeros_like(mask)
        wanted[order] = ideal
        of_mask -= 2 * 10 * turn / iterations * (mask - wanted) / mask.size * 10
        slope = smooth.back(of_mask)
        first, second = 0.9 * first + 0.1 * slope, 0.99 * second + 0.01 * slope**2
        places += 0.05 * (first / (1 - 0.9**turn)) / (np.sqrt(second / (1 - 0.99**turn)) + 1e-12)
        np.clip(places, 0, 1, out=places)
    found: Floats = (up[0] @ smooth.of(places).reshape(smooth.grid, -1) @ up[1].T).astype(np.float32)
    return found


class _Smooth:
    """Each place's soft maximum of all places, fainter the further away; and its derivative."""

    SHARP = 20.0

    def __init__(self, grid: int, sigma: float) -> None:
        self.grid = grid
        at = np.stack(np.meshgrid(np.arange(grid), np.arange(grid), indexing="ij"), axis=-1).reshape(-1, 2)
        distance = ((at[:, None] - at[None]) ** 2).sum(axis=2)
        self._fading = np.exp(-0.5 * distance / sigma**2)

    def of(self, places: Any) -> Any:
        """The mask, (grid * grid)."""
        seen = self._fading * places
        weights = np.exp(self.SHARP * (seen - seen.max(axis=1, keepdims=True)))
        weights /= weights.sum(axis=1, keepdims=True)
        mask = (weights * seen).sum(axis=1)
        self._slope = weights * (1 + self.SHARP * (seen - mask[:, None])) * self._fading
        return mask

    def back(self, of_mask: Any) -> Any:
        """d/d(places) of what `of_mask` is d/d(mask) of."""
        return of_mask @ self._slope
