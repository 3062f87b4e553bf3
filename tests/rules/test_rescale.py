"""DeepLIFT's rescale rule: its definition, and completeness."""

from typing import Any

import numpy as np

import caffepy as caffe
from caffepy import saliency, zoo
from tests.nets import make, noise
from tests.saliency.methods.cases import CLASSES, IMAGES, close, mixed, same_on_a_gpu, slow_score
from tests.saliency.slow import Slow, Step, gradient

BASELINE = noise(3, 9, 8, seed=9)


def rescale(step: Step, dy: np.ndarray) -> list[np.ndarray]:
    """Multipliers of the image, for a batch of (image, reference); of both, so that it may go on."""
    x, r = step.bottoms[0]
    if step.type == "ReLU":
        dx, dr = step.top
        m = np.where(abs(x - r) < 1e-7, gradient(step, dy)[0][0], dy[0] * (dx - dr) / np.where(x == r, 1, x - r))
        return [np.stack([m, m])]
    if step.param.pooling_param.pool != 0:
        return gradient(step, dy)
    gained = np.zeros_like(x)
    for at, source, _ in step.shares:
        image = (0, *at[1:])
        y, reference = step.top[image], step.top[(1, *at[1:])]
        greater = max(y, reference)
        gained[source[1:]] += dy[image] * ((greater - reference) if at[0] == 0 else (y - greater))
    m = np.where(abs(x - r) < 1e-7, gradient(step, dy)[0][0], gained / np.where(x == r, 1, x - r))
    return [np.stack([m, m])]


def test_the_definition() -> None:
    net, right = mixed(), []
    for image, c in zip(IMAGES, CLASSES, strict=True):
        slow = Slow(net)
        slow.forward(np.stack([image, BASELINE]))
        multipliers = slow.backward("fc", np.eye(6)[[c, c]], {"ReLU": rescale, "Pooling": rescale})
        right.append(multipliers[0] * (image - BASELINE))
    for batch in (None, 2):
        close(saliency.deeplift(net, IMAGES, CLASSES, baseline=BASELINE, batch=batch), np.stack(right), 1e-3)


def test_completeness() -> None:
    net = mixed()
    found = saliency.deeplift(net, IMAGES, CLASSES, baseline=BASELINE)
    change = [
        slow_score(net, image, c) - slow_score(net, BASELINE, c) for image, c in zip(IMAGES, CLASSES, strict=True)
    ]
    np.testing.assert_allclose(found.numpy().sum(axis=(1, 2, 3)), change, rtol=1e-3)


def test_completeness_on_the_embedded_net() -> None:
    model = zoo.fashion_mnist()
    net = model.net()
    images = np.stack([caffe.io.load_image(sample.picture, color=False) for sample in model.samples]).transpose(
        0, 3, 1, 2
    )
    found = saliency.deeplift(net, images)
    start = saliency.gradient(net, np.zeros_like(images), list(found.classes or ())).score
    np.testing.assert_allclose(found.numpy().sum(axis=(1, 2, 3)), found.score - start, rtol=1e-3)


ACTIVATIONS = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 5 dim: 4 } } }
layer { name: "a" type: "Convolution" bottom: "data" top: "a" convolution_param { num_output: 4 kernel_size: 3
        weight_filler { type: "gaussian" std: 0.5 } } }
layer { name: "elu" type: "ELU" bottom: "a" top: "a" }
layer { name: "power" type: "Power" bottom: "a" top: "b" power_param { power: 2 shift: 0.5 } }
layer { name: "fc1" type: "InnerProduct" bottom: "b" top: "c" inner_product_param { num_output: 5
        weight_filler { type: "gaussian" std: 0.5 } } }
layer { name: "sigmoid" type: "Sigmoid" bottom: "c" top: "c" }
layer { name: "prelu" type: "PReLU" bottom: "c" top: "c" }
layer { name: "fc" type: "InnerProduct" bottom: "c" top: "fc" inner_product_param { num_output: 6
        weight_filler { type: "gaussian" std: 0.5 } } }
"""


def test_completeness_with_other_activations() -> None:
    net, images = make(ACTIVATIONS), noise(2, 3, 5, 4)
    found = saliency.deeplift(net, images, CLASSES)
    net.forward(data=0 * images)
    change = found.score - net.blobs["fc"].data[[0, 1], CLASSES]
    np.testing.assert_allclose(found.numpy().sum(axis=(1, 2, 3)), change, rtol=1e-3, atol=1e-5)


def test_on_a_gpu(gpu: Any) -> None:
    same_on_a_gpu(saliency.deeplift, baseline=BASELINE)
