"""Maps of many noisy copies of an image, averaged: SmoothGrad and its kin, over any method of one pass."""

from typing import Any

import numpy as np

from caffepy import device
from caffepy.saliency.method import Method, method
from caffepy.saliency.methods.gradients import gradient
from caffepy.saliency.operations import noisy_forward, weighted_powers
from caffepy.saliency.subject import Subject, uploaded, zeros


@method("smoothgrad", "largest", wraps=True)
def smoothgrad(
    subject: Subject, samples: int = 50, noise: float = 0.15, seed: int = 0, of: Method = gradient
) -> list[Any]:
    """The mean of `of` over noisy copies (Smilkov et al. 2017, arXiv 1706.03825).

    samples   copies
    noise     standard deviation, in parts of the image's range
    """
    return _moments(subject, samples, noise, seed, of, (1,))[0]


@method("smoothgrad-squared", "largest", wraps=True)
def smoothgrad_squared(
    subject: Subject, samples: int = 50, noise: float = 0.15, seed: int = 0, of: Method = gradient
) -> list[Any]:
    """The mean of the squares of `of` over noisy copies (Hooker et al. 2019, arXiv 1806.10758)."""
    return _moments(subject, samples, noise, seed, of, (2,))[0]


@method("vargrad", "largest", wraps=True)
def vargrad(
    subject: Subject, samples: int = 50, noise: float = 0.15, seed: int = 0, of: Method = gradient
) -> list[Any]:
    """The variance of `of` over noisy copies (Adebayo et al. 2018, arXiv 1810.03307)."""
    means, squares = _moments(subject, samples, noise, seed, of, (1, 2))
    minus = uploaded([-1])
    for mean, square in zip(means, squares, strict=True):
        weighted_powers(mean, minus, 1, 2, square)
    return squares


def _moments(
    subject: Subject, samples: int, noise: float, seed: int, of: Method, powers: tuple[int, ...]
) -> list[list[Any]]:
    """For each power and each goal, (N, ...): the mean of that power of `of`."""
    subject.at_input("a method of noisy copies")
    inner, totals = int(np.prod(subject.shape[1:])), list[list[Any]]()
    for n in range(subject.shape[0]):
        image = subject.images[n : n + 1]
        values = device.downloaded(image)
        key, sigma = uploaded([seed + n], np.int32), uploaded([noise * float(np.ptp(values))])
        for chunk in subject.chunks(samples):
            noisy = subject.new((len(chunk), *subject.shape[1:]))
            noisy_forward(image, inner, key, chunk.start, sigma, noisy)
            arrays = of.compute(subject.on(noisy, [n] * len(chunk)), **dict(of.given))
            if not totals:
                totals = [[zeros((subject.shape[0], *array.shape[1:])) for array in arrays] for _ in powers]
            weights = uploaded(np.full(len(chunk), 1 / samples))
            for power, of_power in zip(powers, totals, strict=True):
                for array, total in zip(arrays, of_power, strict=True):
                    weighted_powers(array, weights, len(chunk), power, total[n : n + 1])
    return totals
