"""Extremal perturbations: the region of a given area that keeps the score highest.

Fong, Patrick & Vedaldi 2019, "Understanding Deep Networks via Extremal Perturbations and Smooth Masks", 1910.08485.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from caffepy.blob import Floats
from caffepy.saliency.method import method
from caffepy.saliency.methods.mask_operations import adam_climb, area_backward, soft_maximum, soft_maximum_backward
from caffepy.saliency.operations import blend_forward, channel_sum_forward, product_of, weighted_powers
from caffepy.saliency.resample import bilinear, blurred, mixed
from caffepy.saliency.subject import Subject, uploaded, zeros

_SHARP = 20.0
_RATE, _FIRST, _SECOND = 0.05, 0.9, 0.99
_AREA = 200.0
"""How much the area weighs in the last step."""


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
    background, scores = blurred(subject.images, blur * max(subject.shape[2:])), subject.scores()
    fading = uploaded(_fading(grid, reach * grid))
    results = []
    for goal, of_goal in zip(subject.goals, scores, strict=True):
        results.append(zeros((subject.shape[0], *subject.shape[2:])))
        for chunk in subject.chunks(subject.shape[0]):
            rows, own = list(chunk), slice(chunk.start, chunk.stop)
            part = replace(subject, images=subject.images[own], goals=[goal.take(rows)])
            sizes = np.maximum(np.abs(of_goal[own]), 1e-6)
            _search(part, background[own], sizes, area, iterations, grid, fading, results[-1][own])
    return results


def _search(
    subject: Subject,
    background: Any,
    sizes: Floats,
    area: float,
    iterations: int,
    grid: int,
    fading: Any,
    found: Any,
) -> None:
    """found (N, height, width) = the masks, by gradient ascent on their places."""
    num, channels, height, width = subject.shape
    across, inner = grid * grid, height * width
    up = bilinear(grid, height), bilinear(grid, width)
    step = _steps(subject.images, background, sizes)
    places, mask, level, slope, first, second = (zeros((num, grid, grid)) for _ in range(6))
    weighted_powers(uploaded(np.full(places.shape, 0.5)), uploaded([1]), 1, 1, places)
    for turn in range(1, iterations + 1):
        soft_maximum(places, fading, _SHARP, across, mask, level)
        wide, tried, by_mask = mixed(mask, *up), zeros(subject.shape), zeros((num, height, width))
        for n in range(num):
            own = slice(n, n + 1)
            blend_forward(subject.images[own], background[own], wide[own], channels, inner, tried[own])
        gradient = subject.on(tried, range(num)).gradients()[0]
        product_of(gradient, step, gradient)
        channel_sum_forward(gradient, None, channels, inner, 0, by_mask)
        of_mask = mixed(by_mask, *(np.ascontiguousarray(matrix.T) for matrix in up))
        area_backward(mask, across, round(area * across), _AREA * turn / iterations / across, of_mask)
        soft_maximum_backward(places, fading, _SHARP, across, mask, level, of_mask, slope)
        adam_climb(slope, _RATE, _FIRST, _SECOND, turn, first, second, places)
    soft_maximum(places, fading, _SHARP, across, mask, level)
    weighted_powers(mixed(mask, *up), uploaded([1]), 1, 1, found)


def _steps(images: Any, background: Any, sizes: Floats) -> Any:
    """(image - background) / its score's size"""
    steps = zeros(images.shape)
    for n, size in enumerate(sizes):
        own = slice(n, n + 1)
        weighted_powers(images[own], uploaded([1 / size]), 1, 1, steps[own])
        weighted_powers(background[own], uploaded([-1 / size]), 1, 1, steps[own])
    return steps


def _fading(grid: int, sigma: float) -> Floats:
    """(grid * grid, grid * grid): how faintly each place sees each."""
    at = np.stack(np.meshgrid(np.arange(grid), np.arange(grid), indexing="ij"), axis=-1).reshape(-1, 2)
    distance = ((at[:, None] - at[None]) ** 2).sum(axis=2)
    return np.asarray(np.exp(-0.5 * distance / sigma**2), np.float32)
