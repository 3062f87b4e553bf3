"""Metrics that compare a map's values with what the net does, and with themselves nearby."""

from typing import Any

import numpy as np
import numpy.typing as npt

from caffepy.errors import ArgumentError
from caffepy.net import Net
from caffepy.saliency.method import Method
from caffepy.saliency.metrics.trial import as_values, trial
from caffepy.saliency.parameters import whole_number
from caffepy.saliency.target import Target


def completeness_error(
    net: Net, image: Any, values: npt.ArrayLike, target: Target = "top", *, baseline: Any = 0.0, **arguments: Any
) -> float:
    """|sum of the values - (S(x) - S(baseline))| / |S(x) - S(baseline)| (Sundararajan et al. 2017, 1703.01365)."""
    with trial(net, image, target, before_softmax=True, **arguments) as of:
        start = np.broadcast_to(np.asarray(baseline, np.float32), of.image.shape)
        score, before = of.scores([of.image, start])
        change = float(score) - float(before)
        total = float(as_values(values, of.image.shape).sum(dtype=np.float64))
    return abs(total - change) / max(abs(change), 1e-12)


def infidelity(
    net: Net,
    image: Any,
    values: npt.ArrayLike,
    target: Target = "top",
    *,
    samples: int = 50,
    noise: float = 0.1,
    seed: int = 0,
    **arguments: Any,
) -> float:
    """The mean of (I . values - (S(x) - S(x - I)))^2 over normal I (Yeh et al. 2019, arXiv 1901.09392).

    noise   I's standard deviation, in parts of the image's range

    The values are of the gradient's kind, not multiplied by the image; the optimal scale is applied to them, as the
    paper's own comparison does.
    """
    whole_number("samples", samples, least=1)
    with trial(net, image, target, before_softmax=True, **arguments) as of:
        rng, whole = np.random.default_rng(seed), of.image
        steps = rng.normal(0, noise * float(np.ptp(whole)), (samples, *whole.shape)).astype(np.float32)
        scores = of.scores([whole, *(whole - steps)])
        changes = scores[0].astype(np.float64) - scores[1:]
        told = steps.reshape(samples, -1).astype(np.float64) @ as_values(values, whole.shape).ravel()
    scale = (told @ changes) / max(told @ told, 1e-30)
    return float(np.mean((scale * told - changes) ** 2))


def sensitivity_n(
    net: Net,
    image: Any,
    values: npt.ArrayLike,
    target: Target = "top",
    *,
    part: float = 0.1,
    samples: int = 50,
    baseline: float = 0.0,
    seed: int = 0,
    **arguments: Any,
) -> float:
    """The correlation of a random set's sum of values with the score it takes along (Ancona et al. 2018, 1711.06104).

    part   of the pixels in a set

    The values are those of methods that promise completeness, multiplied by the image. The nearer to 1, the better.
    """
    whole_number("samples", samples, least=2)
    if not 0 < part < 1:
        raise ArgumentError(f"part is {part}; give more than 0 and less than 1")
    with trial(net, image, target, before_softmax=True, **arguments) as of:
        rng, whole = np.random.default_rng(seed), of.image
        shares = as_values(values, whole.shape).sum(axis=0).ravel().astype(np.float64)
        count = max(1, round(part * shares.size))
        sums, images = [], [whole]
        for _ in range(samples):
            chosen = rng.choice(shares.size, count, replace=False)
            changed = whole.reshape(len(whole), -1).copy()
            changed[:, chosen] = baseline
            images.append(changed.reshape(whole.shape))
            sums.append(shares[chosen].sum())
        scores = of.scores(images)
    drops = scores[0] - scores[1:]
    if np.std(sums) == 0 or np.std(drops) == 0:
        return 0.0
    return float(np.corrcoef(sums, drops)[0, 1])


def max_sensitivity(
    net: Net,
    image: Any,
    method: Method,
    target: Target = "top",
    *,
    samples: int = 10,
    radius: float = 0.02,
    seed: int = 0,
    parameters: dict[str, Any] | None = None,
    **arguments: Any,
) -> float:
    """max over images nearby of ||map - map nearby|| / ||map|| (Yeh et al. 2019): the less, the steadier.

    radius   of the cube around the image, in parts of its range
    """
    whole_number("samples", samples, least=1)
    with trial(net, image, target, before_softmax=True, **arguments) as of:
        whole, fixed = of.image, of.subject.goals[0].classes
    chosen = target if fixed is None else fixed[0]
    rng, here = np.random.default_rng(seed), _map(net, whole, method, chosen, parameters, arguments)
    size = max(float(np.linalg.norm(here)), 1e-30)
    distances = []
    for _ in range(samples):
        near = whole + rng.uniform(-1, 1, whole.shape).astype(np.float32) * radius * float(np.ptp(whole))
        distances.append(float(np.linalg.norm(_map(net, near, method, chosen, parameters, arguments) - here)) / size)
    return max(distances)


def _map(
    net: Net, image: Any, method: Method, target: Target, parameters: dict[str, Any] | None, arguments: dict[str, Any]
) -> Any:
    return method(net, image[np.newaxis], target, **arguments, **(parameters or {})).numpy()
