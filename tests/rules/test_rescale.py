"""DeepLIFT's rescale rule: its definition, and completeness."""

from typing import Any

import numpy as np
import pytest

import caffepy as caffe
from caffepy import saliency, zoo
from caffepy.errors import ArgumentError
from caffepy.rules import composite
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


GATES = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 5 dim: 4 } } }
layer { name: "a" type: "Convolution" bottom: "data" top: "a" convolution_param { num_output: 4 kernel_size: 3
        weight_filler { type: "gaussian" std: 0.5 } } }
layer { name: "b" type: "Convolution" bottom: "data" top: "b" convolution_param { num_output: 4 kernel_size: 3
        weight_filler { type: "gaussian" std: 0.5 } } }
layer { name: "sigmoid" type: "Sigmoid" bottom: "b" top: "b" }
layer { name: "gated" type: "Eltwise" bottom: "a" bottom: "b" top: "gated" eltwise_param { operation: PROD } }
layer { name: "mean" type: "Pooling" bottom: "gated" top: "mean" pooling_param { pool: AVE global_pooling: true } }
layer { name: "squeeze" type: "InnerProduct" bottom: "mean" top: "squeeze" inner_product_param { num_output: 4
        weight_filler { type: "gaussian" std: 0.5 } } }
layer { name: "excite" type: "Scale" bottom: "gated" bottom: "squeeze" top: "excited" scale_param { axis: 0 } }
layer { name: "fc" type: "InnerProduct" bottom: "excited" top: "fc" inner_product_param { num_output: 6
        weight_filler { type: "gaussian" std: 0.5 } } }
"""


def test_completeness_through_gates() -> None:
    net, images = make(GATES), noise(2, 3, 5, 4)
    baseline = noise(3, 5, 4, seed=5)
    found = saliency.deeplift(net, images, CLASSES, baseline=baseline)
    net.forward(data=np.stack([baseline, baseline]))
    change = found.score - net.blobs["fc"].data[[0, 1], CLASSES]
    np.testing.assert_allclose(found.numpy().sum(axis=(1, 2, 3)), change, rtol=1e-3, atol=1e-5)


def test_a_gate_shares_out_by_the_mean_of_the_other_factor() -> None:
    net = make("""
        layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 dim: 1 dim: 1 } } }
        layer { name: "cut" type: "Slice" bottom: "data" top: "a" top: "b" slice_param { axis: 1 } }
        layer { name: "fc" type: "Eltwise" bottom: "a" bottom: "b" top: "fc" eltwise_param { operation: PROD } }
    """)
    found = saliency.deeplift(net, np.float32([5, 7]).reshape(1, 2, 1, 1), 0, baseline=[[[1]], [[3]]])
    np.testing.assert_allclose(found.numpy().ravel(), [(5 - 1) * (7 + 3) / 2, (7 - 3) * (5 + 1) / 2])


@pytest.mark.parametrize(
    "layer",
    [
        'type: "Eltwise" bottom: "a" bottom: "b" top: "c" eltwise_param { operation: MAX }',
        'type: "Eltwise" bottom: "a" bottom: "b" bottom: "a" top: "c" eltwise_param { operation: PROD }',
        'type: "LRN" bottom: "a" top: "c" lrn_param { norm_region: WITHIN_CHANNEL local_size: 3 }',
        'type: "MVN" bottom: "a" top: "c"',
        'type: "Softmax" bottom: "a" top: "c"',
        'type: "Pooling" bottom: "a" top: "c" pooling_param { pool: STOCHASTIC kernel_size: 2 }',
        'type: "Scale" bottom: "a" bottom: "b" top: "a" scale_param { axis: 0 } } layer { name: "split" '
        'type: "Power" bottom: "a" top: "c"',
    ],
)
def test_layers_without_a_rule_are_named(layer: str) -> None:
    head, tail = GATES.split('layer { name: "gated"')[0], GATES.split('layer { name: "fc"')[1]
    net = make(f'{head} layer {{ name: "odd" {layer} }} layer {{ name: "fc"{tail}'.replace('"excited"', '"c"'))
    with pytest.raises(ArgumentError, match=r"deeplift has no rule for layer 'odd' \(\w+\) as it is set here; integ"):
        saliency.deeplift(net, noise(2, 3, 5, 4), CLASSES, output="fc")
    assert np.isfinite(saliency.gradient(net, noise(2, 3, 5, 4), CLASSES, output="fc").numpy()).all()


def test_a_layer_off_the_way_needs_no_rule() -> None:
    net = make(GATES + 'layer { name: "p" type: "Softmax" bottom: "fc" top: "p" }')
    assert np.isfinite(saliency.deeplift(net, noise(2, 3, 5, 4), CLASSES).numpy()).all()
    with pytest.raises(ArgumentError, match=r"'p' \(Softmax\)"):
        saliency.deeplift(net, noise(2, 3, 5, 4), CLASSES, before_softmax=False)


def test_lstm_is_named() -> None:
    net = make("""
        layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 1 dim: 3 dim: 4 } } }
        layer { name: "flat" type: "Reshape" bottom: "data" top: "flat" reshape_param { shape {
                dim: 0 dim: 1 dim: -1 } } }
        layer { name: "cont" type: "InnerProduct" bottom: "data" top: "cont" inner_product_param { num_output: 1
                bias_filler { type: "constant" value: 1 } } }
        layer { name: "lstm" type: "LSTM" bottom: "flat" bottom: "cont" top: "lstm" recurrent_param { num_output: 3
                weight_filler { type: "gaussian" std: 0.5 } } }
        layer { name: "fc" type: "InnerProduct" bottom: "lstm" top: "fc" inner_product_param { num_output: 4
                weight_filler { type: "gaussian" std: 0.5 } } }
    """)
    for method in (saliency.deeplift, saliency.lrp):
        with pytest.raises(ArgumentError, match=r"no rule for layer 'lstm' \(LSTM\)"):
            method(net, noise(2, 1, 3, 4), 1)


def test_a_net_of_several_inputs_is_told_so() -> None:
    net = make(GATES + 'layer { name: "m" type: "Input" top: "m" input_param { shape { dim: 1 dim: 3 } } }')
    with pytest.raises(ArgumentError, match="deeplift runs images and baselines as one batch"):
        saliency.deeplift(net, noise(2, 3, 5, 4), CLASSES, input="data", output="fc")


def test_relevance_goes_through_lrn_within_channels_as_it_is() -> None:
    lrn = 'layer { name: "n" type: "LRN" bottom: "a" top: "n" lrn_param { norm_region: WITHIN_CHANNEL local_size: 3 } }'
    head, tail = ACTIVATIONS.split('layer { name: "elu"')[0], ACTIVATIONS.split('layer { name: "power"')[1]
    with_it = make(f'{head} {lrn} layer {{ name: "power"{tail}'.replace('bottom: "a" top: "b"', 'bottom: "n" top: "b"'))
    with_it.forward(data=noise(2, 3, 5, 4))
    with with_it.rules(composite("epsilon-plus")):
        before, after = ("a", "a"), ("n", "n")
        found = with_it.gradient({"fc": with_it.blobs["fc"].data.copy()}, wrt=[before, after])
    np.testing.assert_array_equal(found[before], found[after])


def test_on_a_gpu_through_gates(gpu: Any) -> None:
    caffe.set_mode_cpu()
    net, images = make(GATES), noise(2, 3, 5, 4)
    right = saliency.deeplift(net, images, CLASSES).numpy()
    caffe.set_mode_gpu()
    close(saliency.deeplift(net, images, CLASSES), right, 1e-3)


def test_on_a_gpu(gpu: Any) -> None:
    same_on_a_gpu(saliency.deeplift, baseline=BASELINE)
