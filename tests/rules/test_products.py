"""Rules of relevance, against sums written out input by input, in float64."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import caffepy as caffe
from caffepy import saliency
from caffepy.errors import ArgumentError
from caffepy.rules import Composite, composite, products
from tests.nets import make, noise
from tests.saliency.methods.cases import CLASSES, IMAGES, close, mixed, same_on_a_gpu
from tests.saliency.nets import MIXED, NORMALIZED, gather
from tests.saliency.slow import Slow, Step, gradient

EPS = 1e-6
Rule = Callable[[Step, np.ndarray], list[np.ndarray]]


def steady(z: np.ndarray) -> np.ndarray:
    return z + EPS * np.where(z >= 0, 1, -1)


def bias_of(step: Step) -> np.ndarray:
    return step.blobs[1] if len(step.blobs) > 1 else np.zeros(len(step.blobs[0]))


def plus(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0)


def minus(x: np.ndarray) -> np.ndarray:
    return np.where(x < 0, x, 0)


def share(step: Step, r: np.ndarray, terms: list[tuple[np.ndarray, np.ndarray, np.ndarray | None]]) -> np.ndarray:
    """sum over terms (x, w, b) of x * w^T (r / z), z the sum over terms of w x + b."""
    z = sum(step.linear(x, w, b) for x, w, b in terms)
    return sum(x * step.transposed(r / steady(z), w) for x, w, _ in terms)


def epsilon(step: Step, r: np.ndarray) -> list[np.ndarray]:
    return [share(step, r, [(step.bottoms[0], step.blobs[0], bias_of(step))])]


def alpha_beta(alpha: float, beta: float, bias: bool = True) -> Rule:
    def rule(step: Step, r: np.ndarray) -> list[np.ndarray]:
        x, w, b = step.bottoms[0], step.blobs[0], bias_of(step) * bias
        up = share(step, r, [(plus(x), plus(w), plus(b)), (minus(x), minus(w), None)])
        down = share(step, r, [(plus(x), minus(w), minus(b)), (minus(x), plus(w), None)])
        return [alpha * up - beta * down]

    return rule


def gamma(step: Step, r: np.ndarray) -> list[np.ndarray]:
    x, w, b, g = step.bottoms[0], step.blobs[0], bias_of(step), 0.25
    z = step.linear(x, w, b)
    up = [(plus(x), w + g * plus(w), b + g * plus(b)), (minus(x), w + g * minus(w), None)]
    down = [(plus(x), w + g * minus(w), b + g * minus(b)), (minus(x), w + g * plus(w), None)]
    return [share(step, r * (z > 0), up) + share(step, r * (z < 0), down)]


def flat(step: Step, r: np.ndarray) -> list[np.ndarray]:
    ones = np.ones_like(step.blobs[0])
    return [share(step, r, [(np.ones_like(step.bottoms[0]), ones, None)])]


def w_square(step: Step, r: np.ndarray) -> list[np.ndarray]:
    return [share(step, r, [(np.ones_like(step.bottoms[0]), step.blobs[0] ** 2, bias_of(step) ** 2)])]


def z_box(step: Step, r: np.ndarray) -> list[np.ndarray]:
    x, w, b = step.bottoms[0], step.blobs[0], bias_of(step)
    low, high = np.full_like(x, -3), np.full_like(x, 3)
    z = step.linear(x, w, b) - step.linear(low, plus(w), plus(b)) - step.linear(high, minus(w), minus(b))
    s = r / steady(z)
    return [x * step.transposed(s, w) - low * step.transposed(s, plus(w)) - high * step.transposed(s, minus(w))]


def passed(step: Step, r: np.ndarray) -> list[np.ndarray]:
    return [r]


def contributions(step: Step, r: np.ndarray) -> list[np.ndarray]:
    if step.type == "Pooling" and step.param.pooling_param.pool == 0:
        return gradient(step, r)
    return [x * part for x, part in zip(step.bottoms, gradient(step, r / steady(step.top)), strict=True)]


def slow_relevance(net: caffe.Net, convolution: Rule, first: Rule | None = None, dense: Rule = epsilon) -> np.ndarray:
    slow = Slow(net)
    start = np.eye(6)[CLASSES] * slow.forward(IMAGES)["fc"]

    def by_place(step: Step, r: np.ndarray) -> list[np.ndarray]:
        return (first if first and step.param.name == "conv1" else convolution)(step, r)

    rules = {"Convolution": by_place, "InnerProduct": dense, "ReLU": passed}
    return slow.backward("fc", start, {**rules, "Pooling": contributions, "Eltwise": contributions})


@pytest.mark.parametrize(
    ("name", "convolution", "first"),
    [
        ("epsilon", epsilon, None),
        ("epsilon-plus", alpha_beta(1, 0), None),
        ("epsilon-alpha2-beta1", alpha_beta(2, 1), None),
        ("epsilon-plus-flat", alpha_beta(1, 0), flat),
        ("epsilon-alpha2-beta1-flat", alpha_beta(2, 1), flat),
        ("epsilon-gamma", gamma, None),
        ("epsilon-gamma-box", gamma, z_box),
    ],
)
def test_composites(name: str, convolution: Rule, first: Rule | None) -> None:
    net = mixed()
    found = saliency.lrp(net, IMAGES, CLASSES, composite=name, low=-3.0, high=(3.0, 3.0, 3.0))
    close(found, slow_relevance(net, convolution, first), 1e-3)


def test_w_square() -> None:
    net = mixed()
    own = Composite("squares", products.epsilon(), products.epsilon(), first=products.w_square())
    close(saliency.lrp(net, IMAGES, CLASSES, composite=own), slow_relevance(net, epsilon, w_square), 1e-3)


def test_relevance_is_conserved_but_for_biases() -> None:
    net = make(MIXED)
    for blobs in net.params.values():
        blobs[1].data[...] = 0
    for name in ("epsilon", "epsilon-plus", "epsilon-gamma"):
        found = saliency.lrp(net, IMAGES, CLASSES, composite=name)
        np.testing.assert_allclose(found.numpy().sum(axis=(1, 2, 3)), found.score, rtol=1e-3)


def test_excitation_backprop_is_a_probability() -> None:
    net = mixed()
    slow, rule = Slow(net), alpha_beta(1, 0, bias=False)
    slow.forward(IMAGES)
    rules = {
        "Convolution": rule,
        "InnerProduct": rule,
        "ReLU": passed,
        "Pooling": contributions,
        "Eltwise": contributions,
    }
    close(saliency.excitation_backprop(net, IMAGES, CLASSES), slow.backward("fc", np.eye(6)[CLASSES], rules), 1e-3)
    at_pool = saliency.excitation_backprop(net, IMAGES, CLASSES, layer="pool1").numpy()
    np.testing.assert_allclose(at_pool.sum(axis=(1, 2, 3)), 1, rtol=1e-3)
    assert (at_pool >= 0).all()


def test_contrastive_excitation_backprop() -> None:
    net = mixed()
    slow, rule = Slow(net), alpha_beta(1, 0, bias=False)
    slow.forward(IMAGES)

    def contrast(step: Step, r: np.ndarray) -> list[np.ndarray]:
        (supporting,) = rule(step, r)
        for weights in step.blobs:
            weights *= -1
        (opposing,) = rule(step, r)
        return [supporting - opposing]

    rules = {"Convolution": rule, "InnerProduct": contrast, "ReLU": passed, "Pooling": contributions}
    right = slow.backward("fc", np.eye(6)[CLASSES], {**rules, "Eltwise": contributions})
    close(saliency.contrastive_excitation_backprop(net, IMAGES, CLASSES), right, 1e-3)


FOLDED = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 5 dim: 4 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param { num_output: 6 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""


def folded_by_hand(net: caffe.Net) -> caffe.Net:
    plain = make(FOLDED)
    mean, variance, count = (blob.data for blob in net.params["bn"])
    factor = net.params["scale"][0].data / np.sqrt(variance / count[0] + 1e-5)
    plain.params["conv"][0].data[...] = net.params["conv"][0].data * factor[:, None, None, None]
    plain.params["conv"][1].data[...] = net.params["scale"][1].data - mean / count[0] * factor
    for ours, theirs in zip(plain.params["fc"], net.params["fc"], strict=True):
        ours.data[...] = theirs.data
    return plain


@pytest.mark.parametrize("name", ["epsilon", "epsilon-alpha2-beta1", "epsilon-gamma"])
def test_batch_norm_and_scale_are_folded_into_the_product_before(name: str) -> None:
    images, net = noise(2, 3, 5, 4), gather(make(NORMALIZED))
    plain = folded_by_hand(net)
    right = saliency.lrp(plain, images, CLASSES, composite=name)
    found = saliency.lrp(net, images, CLASSES, composite=name)
    np.testing.assert_allclose(found.score, right.score, rtol=1e-4)
    close(found, right.numpy(), 1e-3)


def test_on_a_gpu(gpu: Any) -> None:
    for name in ("epsilon-plus", "epsilon-gamma", "epsilon-alpha2-beta1-flat"):
        same_on_a_gpu(saliency.lrp, composite=name)
    same_on_a_gpu(saliency.lrp, composite="epsilon-gamma-box", low=-3.0, high=(3.0, 4.0, 5.0))
    same_on_a_gpu(saliency.contrastive_excitation_backprop)


def test_folding_on_a_gpu(gpu: Any) -> None:
    caffe.set_mode_cpu()
    images, net = noise(2, 3, 5, 4), gather(make(NORMALIZED))
    right = saliency.lrp(net, images, CLASSES).numpy()
    caffe.set_mode_gpu()
    for _ in range(2):
        close(saliency.lrp(net, images, CLASSES), right, 1e-3)


def test_equal_composites_share_their_captured_passes() -> None:
    net = mixed()
    for _ in range(3):
        saliency.lrp(net, IMAGES, CLASSES, composite="epsilon-gamma-box", low=-3.0, high=3.0)
    assert len(net._rules) == 1


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(ArgumentError, match="no composite 'epsilonplus'; there are epsilon, epsilon-plus"):
        saliency.lrp(mixed(), IMAGES, composite="epsilonplus")
    with pytest.raises(ArgumentError, match="needs low and high"):
        composite("epsilon-gamma-box")
    net = make("""
        layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 2 dim: 3 dim: 4 } } }
        layer { name: "cont" type: "Input" top: "cont" input_param { shape { dim: 2 dim: 2 } } }
        layer { name: "lstm" type: "LSTM" bottom: "data" bottom: "cont" top: "lstm"
                recurrent_param { num_output: 3 weight_filler { type: "gaussian" std: 1 } } }
    """)
    with (
        pytest.raises(ArgumentError, match=r"relevance has no rule for layer 'lstm' \(LSTM\)"),
        net.rules(composite("epsilon")),
    ):
        pass
