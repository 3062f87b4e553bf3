"""Eltwise against the definition, value by value."""

import math

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.runner import build, check_gradient, check_manners, fill

CASES = {
    "": (2, sum),
    "operation: SUM": (3, sum),
    "coeff: 1 coeff: -1": (2, lambda v: v[0] - v[1]),
    "coeff: 0.5 coeff: 2 coeff: -3 coeff: 1": (4, lambda v: 0.5 * v[0] + 2 * v[1] - 3 * v[2] + v[3]),
    "operation: PROD": (2, math.prod),
    "operation: PROD stable_prod_grad: false": (4, math.prod),
    "operation: MAX": (2, max),
    "operation: MAX coeff: 5 coeff: 1 coeff: 1": (3, max),
}


def make(text, bottoms, shape=(2, 3, 5)):
    return build(f'type: "Eltwise" eltwise_param {{ {text} }}', [shape] * bottoms)


@pytest.mark.parametrize("text", CASES)
@pytest.mark.parametrize("shape", [(), (1,), (3, 2, 1, 5), (3, 30000)])
def test_top_is_the_definition(text, shape):
    bottoms, combine = CASES[text]
    case = make(text, bottoms, shape)
    fill(case, np.random.default_rng(1))
    (top,) = case.forward()
    values = zip(*(b.data.reshape(-1).tolist() for b in case.bottom), strict=True)
    np.testing.assert_allclose(top.reshape(-1), [combine(v) for v in values], 1e-5, 1e-6)


@pytest.mark.parametrize("text", CASES)
def test_gradient_of_every_bottom(text):
    rng = np.random.default_rng(2)
    case = make(text, CASES[text][0])
    fill(case, rng)
    if "MAX" in text:  # no two of them closer than a step
        order = rng.permuted(np.indices((len(case.bottom), 30))[0], axis=0)
        for i, bottom in enumerate(case.bottom):
            bottom.data[...] = order[i].reshape(bottom.shape)
    for index in range(len(case.bottom)):
        check_gradient(case, index, rng)
    check_manners(case, rng)


def test_only_the_asked_bottom_gets_a_diff():
    case = make("operation: PROD", 3)
    fill(case, np.random.default_rng(3))
    for blob in (*case.bottom, *case.top):
        blob.diff[...] = 5
    case.forward()
    case.backward([False, True, False])
    assert (case.bottom[0].diff == 5).all()
    assert (case.bottom[2].diff == 5).all()
    np.testing.assert_allclose(case.bottom[1].diff, 5 * case.bottom[0].data * case.bottom[2].data, 1e-6)


def test_product_has_a_slope_at_zero():
    case = make("operation: PROD stable_prod_grad: false", 2, (1,))
    case.bottom[1].data[...] = 3
    case.forward()
    case.top[0].diff[...] = 1
    assert [float(d[0]) for d in case.backward()] == [3, 0]


@pytest.mark.parametrize(
    ("values", "winner"), [((1, 1), 1), ((1, 1, 1), 1), ((0, 2, 2), 1), ((2, 0, 2), 0), ((1, 2, 3), 2)]
)
def test_ties_of_max_go_where_caffe_sends_them(values, winner):
    case = make("operation: MAX", len(values), (1,))
    for bottom, value in zip(case.bottom, values, strict=True):
        bottom.data[...] = value
    case.forward()
    case.top[0].diff[...] = 1
    assert [float(d[0]) for d in case.backward()] == [float(i == winner) for i in range(len(values))]


@pytest.mark.parametrize(
    ("text", "shapes", "message"),
    [
        ("", [(2, 3), (3, 2)], r"'bottom1' has shape \(3, 2\), bottom 'bottom0' has \(2, 3\)"),
        ("", [(2, 3), (2, 3, 1)], "all must have the same"),
        ("", [(2, 3)], "takes 2 or more bottom"),
        ("coeff: 1", [(2,), (2,)], "1 coeff for 2 bottoms"),
        ("operation: PROD coeff: 1 coeff: 1", [(2,), (2,)], "PROD takes no coeff"),
    ],
)
def test_errors(text, shapes, message):
    with pytest.raises(LayerError, match=message):
        build(f'type: "Eltwise" eltwise_param {{ {text} }}', shapes)
