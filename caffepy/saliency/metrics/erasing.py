"""Metrics that take pixels away in the map's order, or bring them back: how fast does the score follow?"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from caffepy.blob import Floats
from caffepy.errors import ArgumentError
from caffepy.net import Net
from caffepy.saliency import pictures
from caffepy.saliency.metrics.trial import as_map, trial
from caffepy.saliency.parameters import whole_number
from caffepy.saliency.target import Target


@dataclass(frozen=True, eq=False)
class Curve:
    """The score, by the part of the pixels that were changed."""

    fractions: Floats
    scores: Floats

    @property
    def area(self) -> float:
        """Under the curve, by trapezoids."""
        means = (self.scores[1:] + self.scores[:-1]) / 2
        return float((means * np.diff(self.fractions)).sum())


def deletion(
    net: Net, image: Any, values: npt.ArrayLike, target: Target = "top", *, steps: int = 50, **arguments: Any
) -> Curve:
    """The probability when the greatest pixels of the map turn to the input's zero first (Petsiuk et al. 2018).

    The less area, the better the map. Raises ArgumentError.
    """
    return _curve(net, image, values, target, "zero", False, steps, arguments, before_softmax=False)


def insertion(
    net: Net, image: Any, values: npt.ArrayLike, target: Target = "top", *, steps: int = 50, **arguments: Any
) -> Curve:
    """The probability when the greatest pixels come back first into a blurred image; the more area, the better."""
    return _curve(net, image, values, target, "blur", True, steps, arguments, before_softmax=False)


def pixel_flipping(
    net: Net,
    image: Any,
    values: npt.ArrayLike,
    target: Target = "top",
    *,
    order: Literal["most", "least"] = "most",
    steps: int = 50,
    **arguments: Any,
) -> Curve:
    """The score when the most (MoRF) or the least relevant pixels (LeRF) turn to the image's mean first.

    Samek et al. 2017, arXiv 1509.06321.
    """
    if order not in ("most", "least"):
        raise ArgumentError(f"order is {order!r}; give 'most' or 'least'")
    signed = as_map(values) * (1 if order == "most" else -1)
    return _curve(net, image, signed, target, "mean", False, steps, arguments, before_softmax=True)


def road(
    net: Net,
    image: Any,
    values: npt.ArrayLike,
    target: Target = "top",
    *,
    percentiles: tuple[float, ...] = (20, 40, 60, 80),
    seed: int = 0,
    **arguments: Any,
) -> float:
    """(the score without the least relevant pixels - without the most relevant) / 2, the mean over percentiles.

    Pixels taken away are imputed from their neighbours, plus a little noise, so that their shape tells nothing (Rong
    et al. 2022, arXiv 2202.00449). The more, the better.
    """
    ranked = as_map(values)
    if not percentiles or not all(0 < at < 100 for at in percentiles):
        raise ArgumentError(f"percentiles are {percentiles}; give some above 0 and below 100")
    with trial(net, image, target, before_softmax=False, **arguments) as of:
        rng, images = np.random.default_rng(seed), []
        _same_size(ranked, of.image)
        for percentile in percentiles:
            cut = np.percentile(ranked, percentile)
            images.append(_imputed(of.image, ranked < cut, rng))
            images.append(_imputed(of.image, ranked >= np.percentile(ranked, 100 - percentile), rng))
        scores = of.scores(images).reshape(-1, 2)
    return float((scores[:, 0] - scores[:, 1]).mean() / 2)


def _curve(
    net: Net,
    image: Any,
    values: npt.ArrayLike,
    target: Target,
    background: Literal["zero", "blur", "mean"],
    inserting: bool,
    steps: int,
    arguments: dict[str, Any],
    *,
    before_softmax: bool,
) -> Curve:
    ranked = as_map(values)
    whole_number("steps", steps, least=1)
    with trial(net, image, target, before_softmax=before_softmax, **arguments) as of:
        whole = of.image
        _same_size(ranked, whole)
        if background == "zero":
            other = np.zeros_like(whole)
        elif background == "mean":
            other = np.broadcast_to(whole.mean(axis=(1, 2), keepdims=True), whole.shape)
        else:
            sigma = 5 * max(whole.shape[1:]) / 224
            other = np.stack([pictures.smooth(plane, max(sigma, 0.5)) for plane in whole])
        before, after = (other, whole) if inserting else (whole, other)
        order = np.argsort(-ranked.ravel(), kind="stable")
        counts = np.round(np.linspace(0, order.size, steps + 1)).astype(int)
        images = []
        for count in counts:
            changed = before.reshape(len(whole), -1).copy()
            chosen = order[:count]
            changed[:, chosen] = after.reshape(len(whole), -1)[:, chosen]
            images.append(changed.reshape(whole.shape))
        scores = of.scores(images)
    return Curve(np.asarray(counts / order.size, np.float32), scores)


def _same_size(ranked: Floats, image: Floats) -> None:
    if ranked.shape != image.shape[1:]:
        raise ArgumentError(f"the map is {ranked.shape}, the image {image.shape[1:]}; give a map of the image's size")


def _imputed(image: Floats, gone: npt.NDArray[np.bool_], rng: np.random.Generator) -> Floats:
    """The image whose missing pixels are means of their eight neighbours, diagonal ones of half the weight.

    The linear system is solved by sweeps, from the mean of what is there, which also spreads into holes.
    """
    result = image.astype(np.float64)
    if gone.all():
        return np.broadcast_to(image.mean(axis=(1, 2), keepdims=True), image.shape).astype(np.float32)
    result[:, gone] = image[:, ~gone].mean(axis=1, keepdims=True)
    weights = np.array([[1, 2, 1], [2, 0, 2], [1, 2, 1]], np.float64)
    present = _spread(np.ones((1, *gone.shape)), weights)
    for _ in range(60):
        means = _spread(result, weights) / present
        result[:, gone] = means[:, gone]
    result[:, gone] += rng.normal(0, 0.01 * float(np.ptp(image)), (len(image), int(gone.sum())))
    return np.asarray(result, np.float32)


def _spread(images: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The weighted sum of each pixel's neighbours; beyond the edges there are none."""
    padded, total = np.pad(images, ((0, 0), (1, 1), (1, 1))), np.zeros_like(images)
    height, width = images.shape[1:]
    for (y, x), weight in np.ndenumerate(weights):
        total += weight * padded[:, y : y + height, x : x + width]
    return total
