"""Every saliency method, and images made by ascent, on the real CuPy: what they give is what they give on the CPU."""

from typing import Any

import numpy as np
import pytest

import caffepy as caffe
from caffepy import saliency
from caffepy.saliency import METHODS, Ascent, Preprocess, Unit
from tests.cupy_on_cpu import standin
from tests.nets import make, noise
from tests.saliency.methods.cases import CLASSES, IMAGES, close, mixed, same_on_a_gpu
from tests.saliency.synthesis.test_synthesis import CONVS

pytestmark = [pytest.mark.gpu, standin.needed()]

SMALL: dict[str, dict[str, Any]] = {
    "smoothgrad": {"samples": 3},
    "smoothgrad-squared": {"samples": 3},
    "vargrad": {"samples": 3},
    "integrated-gradients": {"steps": 3},
    "blur-integrated-gradients": {"steps": 3},
    "guided-integrated-gradients": {"steps": 3},
    "expected-gradients": {"samples": 3, "references": noise(2, 3, 9, 8, seed=5)},
    "occlusion": {"window": 4},
    "rise": {"masks": 5, "cells": 3},
    "extremal-perturbation": {"iterations": 2, "grid": 4},
}


@pytest.mark.parametrize("name", METHODS)
def test_maps_are_the_cpus(name: str, lazy: Any) -> None:
    same_on_a_gpu(METHODS[name], **SMALL.get(name, {}))


@pytest.mark.parametrize("name", METHODS)
def test_an_image_may_be_written_over_afterwards(name: str, lazy: Any) -> None:
    image = lazy.host_zeros(IMAGES.size, np.float32).reshape(IMAGES.shape)  # page-locked, as blob.data is
    target: Any = CLASSES if "cam" in name or name == "linear-approximation" else Unit("sum", 2)
    caffe.set_mode_cpu()
    right = METHODS[name](mixed(), IMAGES, target, **SMALL.get(name, {})).numpy()
    caffe.set_mode_gpu()
    image[...] = IMAGES
    found = METHODS[name](mixed(), image, target, **SMALL.get(name, {}))
    image[...] = 99
    close(found, right, 1e-3)


@pytest.mark.parametrize("what", ["class", "dream", "style"])
def test_images_are_the_cpus(what: str, lazy: Any) -> None:
    rng = np.random.default_rng(0)
    picture, style = (rng.random((20, 24, 3)).astype(np.float32) for _ in range(2))
    options: dict[str, Any] = {"preprocess": Preprocess(), "ascent": Ascent(steps=3, octaves=2, rate=0.01)}
    found = []
    for mode in (caffe.set_mode_cpu, caffe.set_mode_gpu):
        mode()
        net = make(CONVS)
        if what == "class":
            found.append(saliency.visualize_class(net, 1, output="score", **options).array)
        elif what == "dream":
            found.append(saliency.deep_dream(net, picture, "conv", **options).array)
        else:
            layers: dict[str, Any] = {"content_layers": {"score": 0.1}, "style_layers": {"conv": 1}}
            found.append(saliency.transfer_style(net, picture, style, **layers, **options).array)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3, atol=1e-4)
