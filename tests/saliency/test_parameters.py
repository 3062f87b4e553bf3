"""What methods are told wrongly, by kind."""

from typing import Any

import numpy as np
import pytest

from caffepy import saliency
from caffepy.errors import ArgumentError, StateError
from tests.saliency.methods.cases import CLASSES, IMAGES, mixed


@pytest.mark.parametrize(
    ("method", "parameters", "said"),
    [
        ("smoothgrad", {"samples": 0}, "smoothgrad: samples is 0; give at least 1"),
        ("smoothgrad", {"samples": 2.5}, "samples is 2.5; give a whole number"),
        ("smoothgrad", {"samples": True}, "samples is True; give a whole number"),
        ("smoothgrad", {"noise": float("nan")}, "noise is nan; give a finite number"),
        ("smoothgrad", {"noise": -1}, "noise is -1; give at least 0"),
        ("smoothgrad", {"seed": 2**31}, "seed is 2147483648; give 0 to 2147483647"),
        ("rise", {"seed": -1}, "seed is -1; give 0 to"),
        ("smoothgrad", {"of": 3}, "of is 3; give a method"),
        ("integrated-gradients", {"steps": "many"}, "steps is 'many'; give a whole number"),
        ("integrated-gradients", {"error": 0}, "error is 0; give more than 0"),
        ("integrated-gradients", {"baseline": np.nan}, "the baseline holds values that are not finite"),
        ("integrated-gradients", {"baseline": "black"}, "the baseline has shape"),
        ("guided-integrated-gradients", {"fraction": 5}, "fraction is 5; give more than 0 and less than 1"),
        ("blur-integrated-gradients", {"sigma": -1}, "sigma is -1; give at least 0"),
        ("expected-gradients", {"references": np.zeros((0, 3, 9, 8))}, "references have shape"),
        ("expected-gradients", {"references": np.full((1, 3, 9, 8), np.nan)}, "references hold values"),
        ("occlusion", {"stride": 0}, "stride is 0; give at least 1"),
        ("rise", {"probability": 1}, "probability is 1; give more than 0 and less than 1"),
        ("extremal-perturbation", {"reach": 0}, "reach is 0; give more than 0"),
        ("lrp", {"composite": "epsilon-gamma-box", "low": (1, 2)}, "low or high is"),
        ("gradient", {"samples": 3}, "unexpected keyword argument 'samples'; it takes no further parameters"),
    ],
)
def test_parameters(method: str, parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        saliency.METHODS[method](mixed(), IMAGES, CLASSES, **parameters)


@pytest.mark.parametrize("batch", [0, -1, "all", 1.5])
def test_batch(batch: Any) -> None:
    with pytest.raises(ArgumentError, match="batch is"):
        saliency.gradient(mixed(), IMAGES, CLASSES, batch=batch)


def test_numbers_of_numpy_will_do() -> None:
    saliency.smoothgrad(mixed(), IMAGES, CLASSES, samples=np.int64(2), noise=np.float32(0.1))


def test_what_is_no_net_or_a_closed_one() -> None:
    with pytest.raises(ArgumentError, match=r"takes a caffepy\.Net first, got str"):
        saliency.gradient("net.prototxt", IMAGES)
    net = mixed()
    net.close()
    with pytest.raises(StateError, match="the net is closed"):
        saliency.gradient(net, IMAGES)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (saliency.Top("all"), "the count of Top is 'all'"),  # type: ignore[arg-type]
        (saliency.Unit("fc", 1.5), "an index of .* is 1.5; give a whole number"),  # type: ignore[arg-type]
        (np.zeros((2, 2), int), r"target has shape \(2, 2\)"),
        ("fox", "the net has 2 labels for 6 classes"),
    ],
)
def test_targets(target: Any, said: str) -> None:
    net = mixed()
    net.labels = ["cat", "fox"]
    with pytest.raises(ArgumentError, match=said):
        saliency.gradient(net, IMAGES, target)


def test_weights_that_are_no_numbers_are_told_whatever_hides_them() -> None:
    net = mixed()
    rise = {"masks": 2, "cells": 2}
    saliency.rise(net, IMAGES, CLASSES, **rise)
    weights = net.params["a"][0].data
    for wrong in (np.nan, np.inf):
        kept, weights[1, 0, 0, 0] = float(weights[1, 0, 0, 0]), wrong  # by a view that the script kept
        for _ in range(2):
            with pytest.raises(ArgumentError, match=r"weights 0 of layer 'a' \(Convolution\) hold values"):
                saliency.rise(net, IMAGES, CLASSES, **rise)
        weights[1, 0, 0, 0] = kept
    del weights
    saliency.rise(net, IMAGES, CLASSES, **rise)
    net.params["a"][1].data[0] = np.nan  # no view is left
    with pytest.raises(ArgumentError, match="weights 1 of layer 'a'"):
        saliency.rise(net, IMAGES, CLASSES, **rise)
    huge = mixed()
    huge.params["b"][0].data[...] = 1e25  # finite, though their squares are not
    huge.params["fc"][0].data[...] = 0
    saliency.gradient(huge, IMAGES, CLASSES)


def test_metrics() -> None:
    net, values = mixed(), np.ones((9, 8))
    for call in (
        lambda: saliency.metrics.deletion(net, IMAGES[:1], values, 1, steps=0),
        lambda: saliency.metrics.road(net, IMAGES[:1], values, 1, percentiles=(200,)),
        lambda: saliency.metrics.infidelity(net, IMAGES[:1], values, 1, samples=0),
        lambda: saliency.metrics.sensitivity_n(net, IMAGES[:1], values, 1, samples=1),
        lambda: saliency.metrics.max_sensitivity(net, IMAGES[:1], saliency.gradient, 1, samples=0),
        lambda: saliency.metrics.intersection_over_union(values, (0, 0, 2, 2), quantile=7),
        lambda: saliency.metrics.pointing_game(values, "abcd"),  # type: ignore[arg-type]
        lambda: saliency.metrics.pointing_game(values, (0, 0, 9)),  # type: ignore[arg-type]
        lambda: saliency.visualize_class(net, 1, ascent=saliency.Ascent(rate=float("nan"))),
        lambda: saliency.visualize_class(net, 1, ascent=saliency.Ascent(octaves=0)),
        lambda: saliency.gradient(net, IMAGES, CLASSES).overlay(5),
    ):
        with pytest.raises(ArgumentError, match=r"give|finite|at least 1"):
            call()
