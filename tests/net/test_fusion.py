"""A ReLU in place becomes a part of the operation before it, and only where nobody can tell."""

from collections.abc import Iterator

import numpy as np
import pytest

import caffepy as caffe
from tests.cuda_on_cpu import EmulatedCuda
from tests.gpu_mode import running
from tests.kernels.recording import recording
from tests.nets import make, noise

HEAD = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 4 dim: 6 dim: 6 } } }'
RELU = 'layer { name: "relu" type: "ReLU" bottom: "y" top: "%s" relu_param { negative_slope: %g } }'
OPERATIONS = {
    "window": 'type: "Convolution" convolution_param { num_output: 8 kernel_size: 3 pad: 1 group: 2 %s }',
    "pointwise": 'type: "Convolution" convolution_param { num_output: 8 kernel_size: 1 bias_term: false %s }',
    "depthwise": 'type: "Convolution" convolution_param { num_output: 4 kernel_size: 3 group: 4 %s }',
    "inner product": 'type: "InnerProduct" inner_product_param { num_output: 7 %s }',
}
FILLER = 'weight_filler { type: "gaussian" std: 1 } bias_filler { type: "gaussian" std: 1 }'


def text(operation: str, top: str = "y", slope: float = 0.0) -> str:
    return HEAD + f'layer {{ name: "y" bottom: "x" top: "y" {OPERATIONS[operation] % FILLER} }}' + RELU % (top, slope)


def entries(prototxt: str, **range_: str) -> list[str]:
    with recording(90) as gpu:
        make(prototxt).forward(**range_)
    return [launch.entry for launch in gpu.launches]


@pytest.fixture
def _gpu() -> Iterator[EmulatedCuda | None]:
    with running("gpu-ascending") as emulated:
        yield emulated


@pytest.mark.parametrize("slope", [0, 0.25, -0.5])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_numbers_are_those_of_both_one_after_the_other(operation: str, slope: float) -> None:
    x = noise(2, 4, 6, 6)
    expected = make(text(operation, slope=slope)).forward(x=x)["y"].copy()
    assert (expected < 0).any() == (slope > 0)
    with running("gpu-ascending"):
        net = make(text(operation, slope=slope))
        for _ in range(3):
            np.testing.assert_allclose(net.forward(x=x)["y"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_it_is_one_kernel_fewer(operation: str) -> None:
    assert "relu_forward" not in entries(text(operation))
    assert "relu_forward" in entries(text(operation, top="z"))


@pytest.mark.usefixtures("_gpu")
def test_a_pass_that_ends_before_the_relu_shows_what_it_gets() -> None:
    x = noise(2, 4, 6, 6)
    net = make(text("window"))
    for _ in range(3):
        whole = net.forward(x=x)["y"].copy()
        before = net.forward(end="y")["y"].copy()
        assert (before < 0).any()
        np.testing.assert_array_equal(np.maximum(before, 0), whole)


@pytest.mark.usefixtures("_gpu")
def test_a_callback_sees_it_too() -> None:
    net = make(text("window"))
    seen = []
    net.callbacks.after_forward.append(lambda i: seen.append(net.blobs["y"].data.min()))
    net.forward(x=noise(2, 4, 6, 6))
    assert seen[1] < 0 == seen[2]


def test_other_layers_do_not_hide_a_relu() -> None:
    between = 'layer { name: "tanh" type: "TanH" bottom: "y" top: "y" }'
    prototxt = text("window").replace('layer { name: "relu"', between + 'layer { name: "relu"')
    assert entries(prototxt).count("relu_forward") == 1
    assert entries(HEAD.replace('"x"', '"y"') + RELU % ("y", 0)) == ["relu_forward"]


def test_training_keeps_what_came_in() -> None:
    with recording(90) as gpu:
        make(text("window"), phase=caffe.TRAIN).forward()
    assert "relu_forward" in [launch.entry for launch in gpu.launches]


NORMAL = """
layer { name: "bn" type: "BatchNorm" bottom: "y" top: "y" batch_norm_param { eps: 1e-3 } }
layer { name: "scale" type: "Scale" bottom: "y" top: "y" scale_param { bias_term: true
        filler { type: "gaussian" std: 1 } bias_filler { type: "gaussian" std: 1 } } }
layer { name: "relu" type: "ReLU" bottom: "y" top: "y" }
"""
CONVOLUTIONS = [name for name in OPERATIONS if name != "inner product"]


def normal(operation: str) -> str:
    layer = f'layer {{ name: "y" bottom: "x" top: "y" {OPERATIONS[operation] % FILLER} }}'
    return "force_backward: true " + HEAD + layer + NORMAL


def given_statistics(net: caffe.Net) -> caffe.Net:
    mean, variance, weight = (blob.data for blob in net.params["bn"])
    mean[...], variance[...], weight[...] = noise(*mean.shape), 4 + noise(*variance.shape) ** 2, 2
    return net


@pytest.mark.parametrize("operation", CONVOLUTIONS)
def test_batch_norm_and_scale_are_a_part_of_a_convolution(operation: str) -> None:
    launched = entries(normal(operation))
    assert not {"batch_norm_forward", "batch_norm_global_stats", "scale_forward", "relu_forward"} & set(launched)
    apart = NORMAL.replace('"y"', '"z"').replace('bottom: "z" top: "z" batch', 'bottom: "y" top: "z" batch')
    launched = entries(normal(operation).replace(NORMAL, apart))
    assert {"batch_norm_forward", "batch_norm_global_stats", "scale_forward", "relu_forward"} <= set(launched)


@pytest.mark.parametrize("operation", CONVOLUTIONS)
def test_passes_through_them_are_those_of_the_cpu(operation: str) -> None:
    def passes(net: caffe.Net) -> list[np.ndarray]:
        found = [net.forward(x=noise(2, 4, 6, 6))["y"].copy()]
        net.clear_param_diffs()
        net.blobs["y"].diff[...] = noise(*net.blobs["y"].shape)
        net.backward()
        found.append(net.blobs["x"].diff.copy())
        return found + [net.params[name][0].diff.copy() for name in ("y", "scale")]

    net = given_statistics(make(normal(operation)))
    expected = passes(net)
    with running("gpu-random"):
        for _ in range(3):
            for ours, theirs in zip(passes(net), expected, strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)
        net.params["scale"][0].data[...] *= 2
        doubled = passes(net)[0]
    np.testing.assert_allclose(doubled, passes(net)[0], rtol=1e-3, atol=1e-4)


@pytest.mark.usefixtures("_gpu")
def test_a_pass_that_ends_between_them_shows_what_is_there() -> None:
    net = given_statistics(make(normal("window")))
    for _ in range(3):
        found = [net.forward(x=noise(2, 4, 6, 6), end=end)["y"].copy() for end in ("y", "bn", "scale", "relu")]
        np.testing.assert_array_equal(np.maximum(found[2], 0), found[3])
        scale, shift = (blob.data[:, None, None] for blob in net.params["scale"])
        np.testing.assert_allclose(found[1] * scale + shift, found[2], rtol=1e-4, atol=1e-5)


def test_layers_over_other_axes_stay_apart() -> None:
    over_all = normal("window").replace("scale_param {", "scale_param { num_axes: 3")
    assert "scale_forward" in entries(over_all)
    assert "batch_norm_forward" not in entries(over_all)
    twice = normal("window") + NORMAL.replace('name: "', 'name: "again_')
    launched = entries(twice)
    assert {"batch_norm_forward", "scale_forward", "relu_forward"} <= set(launched)


@pytest.mark.parametrize("coeffs", ["", "coeff: 2 coeff: -1 coeff: 0.5"])
def test_a_relu_is_a_part_of_a_sum(coeffs: str) -> None:
    bottoms = 'bottom: "x" bottom: "a" bottom: "b"'
    sum_ = f'layer {{ name: "y" type: "Eltwise" {bottoms} top: "y" eltwise_param {{ {coeffs} }} }}'
    others = [HEAD.replace('"x"', f'"{name}"') for name in "ab"]
    prototxt = HEAD + "".join(others) + sum_ + RELU % ("y", 0.25)
    assert "relu_forward" not in entries(prototxt)
    inputs = {name: noise(2, 4, 6, 6) * factor for name, factor in (("x", 1), ("a", 2), ("b", -3))}
    expected = make(prototxt).forward(**inputs)["y"].copy()
    with running("gpu-ascending"):
        np.testing.assert_allclose(make(prototxt).forward(**inputs)["y"], expected, rtol=1e-5, atol=1e-6)
