"""Relevance handed down layer by layer: LRP, excitation backpropagation, DeepLIFT."""

from typing import Any

import numpy as np

from caffepy import device
from caffepy.errors import ArgumentError
from caffepy.rules import CONTRASTIVE, EXCITATION, RESCALE, Composite, composite
from caffepy.saliency.method import method
from caffepy.saliency.methods.paths import Baseline, baseline_of
from caffepy.saliency.operations import product_of, weighted_powers
from caffepy.saliency.subject import Subject, uploaded, zeros

Bounds = float | tuple[float, ...] | None


@method("lrp", "sum")
def lrp(
    subject: Subject, composite: str | Composite = "epsilon-plus", low: Bounds = None, high: Bounds = None
) -> list[Any]:
    """Layer-wise relevance propagation (Bach et al. 2015, 10.1371/journal.pone.0130140), from the score down.

    composite   which rule each kind of layer gets: "epsilon", "epsilon-plus", "epsilon-alpha2-beta1", with "-flat"
                behind for the first layer, "epsilon-gamma", "epsilon-gamma-box"; or a caffepy.rules.Composite
    low, high   for the box: the input's least and greatest values, by channel; default: the images' own
    """
    return subject.of_scores().gradients(rules=_composite(subject, composite, low, high))


@method("excitation-backprop", "sum")
def excitation_backprop(subject: Subject) -> list[Any]:
    """The probability that a winner's walk down the net ends there (Zhang et al. 2016, arXiv 1608.00507)."""
    return subject.gradients(rules=EXCITATION)


@method("contrastive-excitation-backprop", "sum")
def contrastive_excitation_backprop(subject: Subject) -> list[Any]:
    """The same, minus where it would end for all but the target (Zhang et al. 2016)."""
    return subject.gradients(rules=CONTRASTIVE)


@method("deeplift", "sum")
def deeplift(subject: Subject, baseline: Baseline = None) -> list[Any]:
    """(x - baseline) * multipliers by the rescale rule (Shrikumar et al. 2017, arXiv 1704.02685).

    The values sum up to S(x) - S(baseline) where the nonlinear layers are activations, maximum pooling, LRN across
    channels and products of two bottoms. Raises ArgumentError for others, see caffepy.rules.RESCALE.
    """
    subject.at_input("deeplift")
    if not subject.batches:
        raise ArgumentError(
            f"deeplift runs images and baselines as one batch, and this net has {len(subject.net.inputs)} inputs; "
            "integrated-gradients applies"
        )
    num = subject.shape[0]
    start = uploaded(baseline_of(subject, baseline))
    results = [zeros(subject.shape) for _ in subject.goals]
    most = max(1, subject.most // 2)
    for first in range(0, num, most):
        rows = list(range(first, min(first + most, num)))
        both, part = zeros((2 * len(rows), *subject.shape[1:])), slice(first, first + len(rows))
        running, step = device.current(), zeros((len(rows), *subject.shape[1:]))
        running.copy(subject.images[part], both[: len(rows)])
        for k in range(len(rows)):
            running.copy(start, both[len(rows) + k : len(rows) + k + 1])
        running.copy(both[: len(rows)], step)
        weighted_powers(both[len(rows) :], uploaded([-1]), 1, 1, step)
        for multipliers, result in zip(subject.on(both, rows * 2).gradients(rules=RESCALE), results, strict=True):
            product_of(multipliers[: len(rows)], step, result[part])
    return results


def _composite(subject: Subject, given: str | Composite, low: Bounds, high: Bounds) -> Composite:
    if isinstance(given, Composite):
        return given
    if not isinstance(given, str):
        raise ArgumentError(f"composite is {given!r}; give a name or a caffepy.rules.Composite")
    bounds = []
    for bound, fold in ((low, np.min), (high, np.max)):
        chosen = np.ravel(fold(subject.host()) if bound is None else np.asarray(bound, np.float32))
        if chosen.size not in (1, subject.shape[1]) or not np.isfinite(chosen).all():
            raise ArgumentError(f"low or high is {bound}; give a finite number, or one for each channel")
        bounds.append(tuple(float(value) for value in chosen))
    return composite(given, low=bounds[0], high=bounds[1])
