"""Gradients along a path from a baseline to the image: integrated gradients and its kin."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from caffepy import device
from caffepy.blob import Floats
from caffepy.errors import ArgumentError
from caffepy.saliency.method import method
from caffepy.saliency.methods.guided_path import attributions
from caffepy.saliency.methods.quadrature import Way, integrate
from caffepy.saliency.operations import noisy_forward, path_forward, product_of, weighted_powers
from caffepy.saliency.resample import blurred
from caffepy.saliency.subject import Subject, uploaded, zeros

Baseline = float | npt.ArrayLike | None
"""A number, or (channels, height, width) in the input's values; None: 0, which is the mean where that is subtracted."""


@method("integrated-gradients", "sum")
def integrated_gradients(
    subject: Subject, steps: int = 50, baseline: Baseline = None, error: float | None = 1e-3
) -> list[Any]:
    """(x - baseline) * the mean of dS/dx between both (Sundararajan, Taly & Yan 2017, arXiv 1703.01365).

    The values sum up to S(x) - S(baseline).

    steps   places of Gauss and Legendre's rule, by which the mean is taken
    error   by how much the sum may be off, in parts of that: where it is more, gradients are taken at further places,
            where the rule is off the most, at most 20 times as many; None: at `steps` places alone, and so it is
            for a target that is a function, whose score may be anything's
    """
    subject.at_input("integrated-gradients")
    start = uploaded(baseline_of(subject, baseline))
    if any(goal.function is not None for goal in subject.goals):
        error = None

    def one(n: int, totals: list[Any]) -> None:
        way = Way(subject, n, start, [zeros(start.shape) for _ in totals])
        integrate(way, steps, error)
        image = subject.images[n : n + 1]
        for mean, total in zip(way.sums, totals, strict=True):
            for end, sign in ((image, 1.0), (start, -1.0)):
                product = zeros(image.shape)
                product_of(mean, end, product)
                weighted_powers(product, uploaded([sign]), 1, 1, total[n : n + 1])

    return _over_images(subject, one)


@method("expected-gradients", "sum")
def expected_gradients(
    subject: Subject, references: npt.ArrayLike | None = None, samples: int = 50, seed: int = 0
) -> list[Any]:
    """The mean of (x - r) * dS/dx at a random place between r and x (Erion et al. 2021, arXiv 1906.10670).

    references   (M, channels, height, width) of the input's values, of which r is drawn; default: noise of the image's
                 own mean and standard deviation
    """
    subject.at_input("expected-gradients")
    rng = np.random.default_rng(seed)
    given = None if references is None else _references(references, subject)

    def one(n: int, totals: list[Any]) -> None:
        image = subject.images[n : n + 1]
        for chunk in subject.chunks(samples):
            starts = _noise(subject, image, seed + n, chunk) if given is None else _drawn(given, rng, len(chunk))
            path, alphas = zeros(starts.shape), uploaded(rng.random(len(chunk)))
            path_forward(starts, image, image.size, 1, alphas, path)
            steps = zeros(starts.shape)  # x - r
            path_forward(starts, image, image.size, 1, uploaded(np.ones(len(chunk))), steps)
            weighted_powers(starts, uploaded([-1]), 1, 1, steps)
            weights = uploaded(np.full(len(chunk), 1 / samples))
            for gradient, total in zip(subject.on(path, [n] * len(chunk)).gradients(), totals, strict=True):
                product_of(gradient, steps, gradient)
                weighted_powers(gradient, weights, len(chunk), 1, total[n : n + 1])

    return _over_images(subject, one)


@method("blur-integrated-gradients", "sum")
def blur_integrated_gradients(subject: Subject, steps: int = 50, sigma: float | None = None) -> list[Any]:
    """Integrated gradients on the path of images ever less blurred (Xu, Venugopalan & Sundararajan 2020, CVPR).

    sigma   of the most blurred image, in pixels; default: a quarter of the shorter side
    """
    subject.at_input("blur-integrated-gradients")
    most = min(subject.shape[2:]) / 4 if sigma is None else sigma
    sigmas = most * (1 - np.arange(steps + 1) / steps) ** 2

    def one(n: int, totals: list[Any]) -> None:
        image = subject.images[n : n + 1]
        for chunk in subject.chunks(steps):
            middle, step = (zeros((len(chunk), *subject.shape[1:])) for _ in range(2))
            before = blurred(image, sigmas[chunk.start])
            for k, i in enumerate(chunk):
                after = blurred(image, sigmas[i + 1])
                path_forward(before, after, before.size, 0, uploaded([0.5]), middle[k : k + 1])
                weighted_powers(after, uploaded([1]), 1, 1, step[k : k + 1])
                weighted_powers(before, uploaded([-1]), 1, 1, step[k : k + 1])
                before = after
            for gradient, total in zip(subject.on(middle, [n] * len(chunk)).gradients(), totals, strict=True):
                product_of(gradient, step, gradient)
                weighted_powers(gradient, uploaded(np.ones(len(chunk))), len(chunk), 1, total[n : n + 1])

    return _over_images(subject, one)


@method("guided-integrated-gradients", "sum")
def guided_integrated_gradients(
    subject: Subject, steps: int = 50, baseline: Baseline = None, fraction: float = 0.25, distance: float = 0.02
) -> list[Any]:
    """Integrated gradients on a path that takes values of small gradients first (Kapishnikov et al. 2021, CVPR).

    fraction   of the values that move at once
    distance   from the straight path, at most, in parts of it
    """
    subject.at_input("guided-integrated-gradients")
    start = baseline_of(subject, baseline)
    results = []
    for goal in subject.goals:
        rows = []
        for n in range(subject.shape[0]):
            alone = replace(subject, goals=[goal])

            def gradient(x: Floats, alone: Subject = alone, n: int = n) -> Floats:
                found: Floats = device.downloaded(alone.on(uploaded(x[np.newaxis]), [n]).gradients()[0])[0]
                return found

            image = device.downloaded(subject.images[n : n + 1])[0]
            rows.append(attributions(image, start[0], gradient, steps, fraction, distance))
        results.append(uploaded(np.stack(rows)))
    return results


def baseline_of(subject: Subject, baseline: Baseline) -> Floats:
    """The baseline as an image, (1, channels, height, width)."""
    try:
        found = np.array(np.broadcast_to(0 if baseline is None else baseline, (1, *subject.shape[1:])), np.float32)
    except (TypeError, ValueError):
        raise ArgumentError(
            f"the baseline has shape {np.asarray(baseline).shape}; give a number, or an image of {subject.shape[1:]}"
        ) from None
    if not np.isfinite(found).all():
        raise ArgumentError("the baseline holds values that are not finite")
    return found


def _noise(subject: Subject, image: Any, seed: int, chunk: range) -> Any:
    """References: deviates of the seed, numbered, of the image's mean and standard deviation."""
    values, made = device.downloaded(image), zeros((len(chunk), *subject.shape[1:]))
    flat, sigma = uploaded(np.full(image.size, values.mean())), uploaded([values.std()])
    noisy_forward(flat, image.size, uploaded([seed], np.int32), chunk.start, sigma, made)
    return made


def _references(references: npt.ArrayLike, subject: Subject) -> Floats:
    given = np.asarray(references, np.float32)
    if given.shape[1:] != subject.shape[1:] or not given.size:
        raise ArgumentError(f"references have shape {given.shape}, the images {subject.shape}; give (M, *image's)")
    if not np.isfinite(given).all():
        raise ArgumentError("references hold values that are not finite")
    return given


def _drawn(references: Floats, rng: np.random.Generator, count: int) -> Any:
    return uploaded(references[rng.integers(len(references), size=count)])


def _over_images(subject: Subject, one: Callable[[int, list[Any]], None]) -> list[Any]:
    totals = [subject.new(subject.shape) for _ in subject.goals]
    for n in range(subject.shape[0]):
        one(n, totals)
    return totals
