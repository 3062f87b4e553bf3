"""InnerProduct against its definition."""

import math

import numpy as np
import pytest

from caffepy.errors import LayerError
from caffepy.layers.common import inner_product
from caffepy.proto.caffe_pb2 import TEST, TRAIN
from tests.gpu_mode import REAL, running
from tests.layers.runner import build, check_gradient, check_manners, fill

CASES = {
    "axis 1": ((2, 3, 4), "num_output: 5", 1),
    "one image": ((1, 7), "num_output: 5", 1),
    "axis 0": ((2, 3), "num_output: 5 axis: 0", 0),
    "last axis": ((2, 3, 4), "num_output: 5 axis: -1", 2),
    "no bias": ((2, 6), "num_output: 5 bias_term: false", 1),
    "one output": ((3, 6), "num_output: 1", 1),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("transpose", [False, True])
def test_it_is_its_definition(name, transpose):
    shape, text, axis = CASES[name]
    case = build(f'type: "InnerProduct" inner_product_param {{ {text} transpose: {str(transpose).lower()} }}', [shape])
    rng = np.random.default_rng(0)
    fill(case, rng)
    weight = case.weights[0].data
    assert weight.shape[1 if not transpose else 0] == math.prod(shape[axis:])
    rows = case.bottom[0].data.reshape(math.prod(shape[:axis]), -1)
    expected = np.zeros((len(rows), weight.shape[0 if not transpose else 1]))
    for m, o in np.ndindex(expected.shape):
        column = weight[:, o] if transpose else weight[o]
        expected[m, o] = sum(float(a) * float(b) for a, b in zip(rows[m], column, strict=True))
        expected[m, o] += case.weights[1].data[o] if len(case.weights) > 1 else 0
    np.testing.assert_allclose(case.forward()[0], expected.reshape(*shape[:axis], -1), 1e-5, 1e-5)
    check_gradient(case, 0, rng)
    for index in range(len(case.weights)):
        check_gradient(case, ("param", index), rng)
    check_manners(case, rng)


@pytest.mark.parametrize("transpose", ["false", "true"])
def test_weight_diffs_in_several_parts(transpose, monkeypatch):
    monkeypatch.setattr(inner_product, "PRODUCT", 13)
    case = build(f'type: "InnerProduct" inner_product_param {{ num_output: 5 transpose: {transpose} }}', [(3, 4)])
    rng = np.random.default_rng(1)
    fill(case, rng)
    check_gradient(case, ("param", 0), rng)


def test_reshape_to_another_batch_and_to_an_equal_count():
    case = build('type: "InnerProduct" inner_product_param { num_output: 5 }', [(2, 3, 4)])
    fill(case, np.random.default_rng(2))
    first = case.forward()[0].copy()
    case.reshape((2, 12, 1, 1))
    np.testing.assert_array_equal(case.forward()[0], first)
    case.reshape((7, 12))
    assert case.forward()[0].shape == (7, 5)


def test_errors():
    with pytest.raises(LayerError, match=r"layer 'layer' .InnerProduct.: num_output must be at least 1, got 0"):
        build('type: "InnerProduct"', [(2, 3)])
    with pytest.raises(LayerError, match="axis: 2 is outside bottom 0"):
        build('type: "InnerProduct" inner_product_param { num_output: 5 axis: 2 }', [(2, 3)])
    case = build('type: "InnerProduct" inner_product_param { num_output: 5 }', [(2, 3, 4)])
    with pytest.raises(LayerError, match=r"shape \(2, 3, 5\), from axis 1 on 15 values; the weights \(5, 12\) need 12"):
        case.reshape((2, 3, 5))


@pytest.mark.parametrize("mode", ["cpu", "gpu-random", REAL])
def test_weights_may_be_made_of_length_one(mode):
    text = 'type: "InnerProduct" inner_product_param { num_output: 5 bias_term: false normalize: true }'
    with running(mode):
        for phase in (TRAIN, TEST):
            case = build(text, [(3, 4)], phase)
            rng = np.random.default_rng(1)
            fill(case, rng)
            before = case.weights[0].data.astype(np.float64)
            weight = before / np.linalg.norm(before, axis=1, keepdims=True) if phase == TRAIN else before
            np.testing.assert_allclose(case.forward()[0], case.bottom[0].data @ weight.T, 1e-5, 1e-5)
            np.testing.assert_allclose(case.weights[0].data, weight, 1e-6)
            check_gradient(case, 0, rng)
    with pytest.raises(LayerError, match="normalize: true is there without transpose only"):
        build(text.replace("normalize", "transpose: true normalize"), [(3, 4)], TRAIN)
