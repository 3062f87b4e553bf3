"""Chains in place, through the net: the same numbers as with blobs of their own, or a refusal."""

import numpy as np
import pytest

import caffepy as caffe
from caffepy.errors import GraphError
from tests.nets import make, noise

LAYERS = {
    "relu": 'type: "ReLU"',
    "leaky": 'type: "ReLU" relu_param { negative_slope: 0.2 }',
    "bn": 'type: "BatchNorm"',
    "scale": 'type: "Scale" scale_param { filler { type: "gaussian" } bias_term: true }',
    "dropout": 'type: "Dropout"',
    "tanh": 'type: "TanH"',
    "affine": 'type: "Power" power_param { scale: 2 shift: 0.1 }',
    "square": 'type: "Power" power_param { power: 2 }',
    "softmax": 'type: "Softmax"',
    "bias": 'type: "Bias" bias_param { filler { type: "gaussian" } }',
    "prelu": 'type: "PReLU"',
    "hard_swish": 'type: "HardSwish"',
    "relu6": 'type: "ReLU6"',
}


def chain(names, phase, *, in_place):
    """x -> a Power -> the named layers, each in place or not."""
    text = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 3 dim: 5 } } }'
    text = f'force_backward: true {text} layer {{ name: "first" type: "Power" bottom: "x" top: "b0" }}'
    for i, name in enumerate(names):
        blobs = 'bottom: "b0" top: "b0"' if in_place else f'bottom: "b{i}" top: "b{i + 1}"'
        text += f' layer {{ name: "{name}{i}" {blobs} {LAYERS[name]} }}'
    return make(text, phase)


def run(net, seed=3):
    caffe.set_random_seed(seed)
    x, diff = noise(4, 3, 5), noise(4, 3, 5, seed=1)
    (top,) = net.forward(x=x).values()
    top = top.copy()
    back = net.backward(**{net.outputs[0]: diff})["x"]
    weights = [blob.diff for blobs in net.params.values() for blob in blobs]
    return [top, back, *weights, net.gradient({net.outputs[0]: diff})["x"]]


@pytest.mark.parametrize("phase", [caffe.TRAIN, caffe.TEST])
@pytest.mark.parametrize(
    "names",
    [
        ["relu"],
        ["bn", "scale", "relu"],
        ["bn", "scale", "leaky"],
        ["affine", "tanh"],
        ["bn", "square", "scale"],
        ["scale", "scale", "softmax"],
        ["affine", "dropout"],
        ["scale", "prelu", "bias"],
        ["bias", "hard_swish", "scale"],
        ["bn", "affine", "relu6"],
    ],
)
def test_chain_gives_the_numbers_of_separate_blobs(names, phase):
    for found, expected in zip(
        run(chain(names, phase, in_place=True)), run(chain(names, phase, in_place=False)), strict=True
    ):
        np.testing.assert_allclose(found, expected, 1e-5, 1e-6)


@pytest.mark.parametrize("names", [["relu", "dropout"], ["leaky", "scale"], ["leaky", "bn", "relu", "dropout"]])
def test_a_training_relu_outlives_what_comes_after(names):
    for found, expected in zip(
        run(chain(names, caffe.TRAIN, in_place=True)), run(chain(names, caffe.TRAIN, in_place=False)), strict=True
    ):
        np.testing.assert_allclose(found, expected, 1e-5, 1e-6)


def test_dropout_at_test_time_is_in_nobodys_way():
    found = run(chain(["relu", "dropout"], caffe.TEST, in_place=True))
    expected = run(chain(["relu"], caffe.TEST, in_place=True))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("names", "phase", "by"),
    [
        (["tanh", "scale"], caffe.TRAIN, "scale1"),
        (["relu", "scale"], caffe.TEST, "scale1"),
        (["tanh", "dropout"], caffe.TRAIN, "dropout1"),
        (["softmax", "affine"], caffe.TEST, "affine1"),
        (["relu6", "scale"], caffe.TRAIN, "scale1"),
    ],
)
def test_backward_without_its_data_is_refused(names, phase, by):
    net = chain(names, phase, in_place=True)
    net.forward(x=noise(4, 3, 5))
    with pytest.raises(GraphError, match=f"{names[0]}0.* needs data that layer '{by}' .* wrote over in place"):
        net.backward()
