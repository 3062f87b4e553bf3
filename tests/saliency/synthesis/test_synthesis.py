"""Images made by gradient ascent."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import caffepy as caffe
from caffepy import saliency, zoo
from caffepy.errors import ArgumentError
from caffepy.saliency import Ascent, Preprocess
from caffepy.saliency.synthesis.ascent import climb, sizes
from caffepy.saliency.synthesis.objectives import gram, gram_diff
from tests.nets import make, noise

LINEAR = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 1 dim: 6 dim: 6 } } }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 2
        weight_filler { type: "gaussian" std: 1 } } }
"""

CONVS = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 20 dim: 24 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 4 kernel_size: 3
        weight_filler { type: "gaussian" std: 0.3 } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "score" type: "Convolution" bottom: "conv" top: "score" convolution_param { num_output: 5 kernel_size: 3
        weight_filler { type: "gaussian" std: 0.3 } } }
"""

PLAIN = Ascent(steps=1, rate=0.01)


def test_a_step_goes_up_the_gradient_and_is_of_the_rates_size() -> None:
    net = make(LINEAR)
    weights = net.params["fc"][0].data[1].reshape(1, 1, 6, 6)
    found = climb(net, np.zeros((1, 1, 6, 6)), lambda net: {"fc": [[0, 1]]}, PLAIN, scale=100.0)
    np.testing.assert_allclose(found, weights / abs(weights).mean(), rtol=1e-5)
    assert abs(found).mean() == pytest.approx(1)


def test_decay_jitter_and_bounds() -> None:
    net, start = make(LINEAR), noise(1, 1, 6, 6)
    up = climb(net, start, lambda net: {"fc": [[0, 1]]}, PLAIN, scale=1.0) - start
    decayed = climb(net, start, lambda net: {"fc": [[0, 1]]}, replace(PLAIN, decay=0.5), scale=1.0)
    np.testing.assert_allclose(decayed, start / 2 + up, rtol=1e-4, atol=1e-6)
    bounds = np.float32(-0.1), np.float32(0.2)
    found = climb(net, start, lambda net: {"fc": [[0, 1]]}, replace(PLAIN, steps=3), scale=1.0, bounds=bounds)
    assert (found >= bounds[0]).all()
    assert (found <= bounds[1]).all()
    jittered = climb(net, start, lambda net: {"fc": [[0, 1]]}, replace(PLAIN, jitter=3, seed=2), scale=1.0) - start
    assert not np.allclose(jittered, up)
    np.testing.assert_allclose(np.sort(jittered.ravel()), np.sort(up.ravel()), rtol=1e-3, atol=1e-6)


def test_total_variation_draws_neighbours_together() -> None:
    net, start = make(LINEAR), noise(1, 1, 6, 6)
    net.params["fc"][0].data[...] = 0
    smoother = climb(net, start, lambda net: {"fc": [[0, 1]]}, replace(PLAIN, total_variation=1.0, steps=20), scale=1.0)
    rough = [np.square(np.diff(image, axis=axis)).sum() for image in (start, smoother) for axis in (2, 3)]
    assert rough[2] < rough[0]
    assert rough[3] < rough[1]


def test_octaves_end_with_the_whole() -> None:
    assert sizes(100, 140, Ascent(octaves=3, octave_scale=1.4)) == [(51, 71), (71, 100), (100, 140)]


def test_class_visualisation_raises_the_score_of_its_class() -> None:
    model = zoo.fashion_mnist()
    net = model.net()
    net.labels, net.preprocess = list(model.labels), Preprocess(scale=1.0)
    for target in (1, "Bag"):
        found = saliency.visualize_class(net, target, ascent=Ascent(steps=30, rate=0.02))
        net.blobs["data"].data[...] = found.array
        prob = net.forward()["prob"][0]
        assert prob.argmax() == (8 if target == "Bag" else 1)
        assert prob.max() > 0.95


def test_deep_dream_strengthens_what_a_layer_sees() -> None:
    net, picture = make(CONVS), np.random.default_rng(0).random((20, 24, 3)).astype(np.float32)
    steps: list[int] = []
    ascent = Ascent(steps=5, octaves=2, rate=0.01)
    options: dict[str, Any] = {"preprocess": Preprocess(), "progress": lambda: steps.append(1)}
    found = saliency.deep_dream(net, picture, "conv", ascent=ascent, **options)
    net.forward(data=Preprocess().apply(picture, (3, 20, 24)))
    assert found.score > np.square(net.blobs["conv"].data).sum() / 2
    assert found.array.shape == (1, 3, 20, 24)
    assert len(steps) == 10
    guided = saliency.deep_dream(net, picture, "conv", guide=1 - picture, ascent=ascent, preprocess=Preprocess())
    assert not np.allclose(guided.array, found.array)


def test_the_gram_matrixs_derivative() -> None:
    data, wanted = noise(1, 3, 4, 5).astype(np.float64), noise(3, 3, seed=2)
    slope = gram_diff(data.astype(np.float32), wanted + wanted.T, 1.0)
    for index in ((0, 0, 0, 0), (0, 2, 3, 4), (0, 1, 2, 2)):
        values = []
        for sign in (1, -1):
            changed = data.copy()
            changed[index] += sign * 1e-4
            values.append(np.square(gram(changed) - wanted - wanted.T).sum() / (4 * 9))
        np.testing.assert_allclose(slope[index], (values[0] - values[1]) / 2e-4, rtol=1e-3)


def test_style_comes_nearer() -> None:
    net, rng = make(CONVS), np.random.default_rng(0)
    content, style = (rng.random((20, 24, 3)).astype(np.float32) for _ in range(2))
    style *= 0.3
    far, near = (
        saliency.transfer_style(
            net,
            content,
            style,
            content_layers={"score": 0.1},
            style_layers={"conv": 1},
            preprocess=Preprocess(),
            ascent=Ascent(steps=steps, rate=0.01),
        )
        for steps in (1, 25)
    )
    assert near.score > 2 * far.score / 3  # of losses below 0
    assert near.score > far.score


def test_it_is_saved(tmp_path: Path) -> None:
    found = saliency.visualize_class(make(CONVS), 2, ascent=Ascent(steps=2))
    found.save(tmp_path / "a.png", longest=48)
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (48, 40)
    assert found._repr_png_()[1:4] == b"PNG"


def test_what_is_wrong_is_said() -> None:
    net = make(CONVS)
    with pytest.raises(ArgumentError, match="steps, octaves and blur_every are at least 1"):
        saliency.visualize_class(net, 2, ascent=Ascent(steps=0))
    with pytest.raises(ArgumentError, match="target 9 is out of range"):
        saliency.visualize_class(net, 9)
    with pytest.raises(ArgumentError, match="give style_layers"):
        saliency.transfer_style(net, noise(1, 3, 20, 24), noise(1, 3, 20, 24), content_layers={}, style_layers={})
    with pytest.raises(caffe.errors.UnknownBlobError, match="no blob 'con'; did you mean 'conv'"):
        saliency.deep_dream(net, noise(1, 3, 20, 24), "con")


def test_on_a_gpu(gpu: Any) -> None:
    caffe.set_mode_cpu()
    net, rng = make(CONVS), np.random.default_rng(0)
    first, second = (rng.random((20, 24, 3)).astype(np.float32) for _ in range(2))
    ascent = Ascent(steps=3, octaves=2, rate=0.01, jitter=2, total_variation=0.2, blur=0.6, blur_every=2)

    def made() -> list[np.ndarray]:
        styled: dict[str, Any] = {"content_layers": {"score": 0.1, "conv": 0.2}, "style_layers": {"conv": 1}}
        return [
            saliency.visualize_class(net, 2, ascent=ascent, preprocess=Preprocess()).array,
            saliency.deep_dream(net, first, "conv", ascent=ascent, preprocess=Preprocess()).array,
            saliency.deep_dream(net, first, "conv", guide=second, ascent=ascent, preprocess=Preprocess()).array,
            saliency.transfer_style(net, first, second, ascent=ascent, preprocess=Preprocess(), **styled).array,
        ]

    right = made()
    caffe.set_mode_gpu()
    for found, expected in zip(made(), right, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * abs(expected).max())
