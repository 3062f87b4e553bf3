"""The elementwise layers: each against its formula, its slope and the base's habits."""

import math

import numpy as np
import pytest

from caffepy.errors import LayerError
from caffepy.layers.basis.elementwise import BLOCK
from tests.layers.runner import build, check_gradient, check_manners, fill

FORMULAS = {
    'type: "ReLU"': lambda x: max(x, 0.0),
    'type: "ReLU" relu_param { negative_slope: 0.1 }': lambda x: x if x > 0 else 0.1 * x,
    'type: "ReLU" relu_param { negative_slope: 1.5 }': lambda x: x if x > 0 else 1.5 * x,
    'type: "ReLU" relu_param { negative_slope: -0.5 }': lambda x: x if x > 0 else -0.5 * x,
    'type: "TanH"': math.tanh,
    'type: "Sigmoid"': lambda x: 1 / (1 + math.exp(-x)),
    'type: "Power"': lambda x: x,
    'type: "Power" power_param { scale: -3 shift: 2 }': lambda x: 2 - 3 * x,
    'type: "Power" power_param { power: 2 scale: 0.5 shift: 1 }': lambda x: (1 + 0.5 * x) ** 2,
    'type: "Power" power_param { power: 3 }': lambda x: x**3,
    'type: "Power" power_param { power: 0 scale: 2 shift: 7 }': lambda x: 1.0,
    'type: "Power" power_param { power: 2 scale: 0 shift: 3 }': lambda x: 9.0,
    'type: "Power" power_param { power: -1 scale: 0.1 shift: 4 }': lambda x: 1 / (4 + 0.1 * x),
    'type: "Power" power_param { power: 0.5 scale: 0.1 shift: 4 }': lambda x: math.sqrt(4 + 0.1 * x),
    'type: "AbsVal"': abs,
    'type: "BNLL"': lambda x: math.log(1 + math.exp(x)),
    'type: "Clip" clip_param { min: -0.5 max: 1.5 }': lambda x: min(max(x, -0.5), 1.5),
    'type: "ELU"': lambda x: x if x > 0 else math.exp(x) - 1,
    'type: "ELU" elu_param { alpha: 0.3 }': lambda x: x if x > 0 else 0.3 * (math.exp(x) - 1),
    'type: "ELU" elu_param { alpha: -0.3 }': lambda x: x if x > 0 else -0.3 * (math.exp(x) - 1),
    'type: "Exp"': math.exp,
    'type: "Exp" exp_param { base: 2 scale: -0.5 shift: 1.5 }': lambda x: 2 ** (1.5 - 0.5 * x),
    'type: "HardSwish"': lambda x: x * min(max(x + 3, 0), 6) / 6,
    'type: "Log" log_param { scale: 0.1 shift: 4 }': lambda x: math.log(4 + 0.1 * x),
    'type: "Log" log_param { base: 10 scale: -0.1 shift: 4 }': lambda x: math.log10(4 - 0.1 * x),
    'type: "ReLU6"': lambda x: min(max(x, 0.0), 6.0),
    'type: "Swish"': lambda x: x / (1 + math.exp(-x)),
    'type: "Swish" swish_param { beta: -1.5 }': lambda x: x / (1 + math.exp(1.5 * x)),
}
KINKS = np.array([-3, -0.5, 0, 1.5, 3, 6])
"""Of any of them."""
layers = pytest.mark.parametrize("text", FORMULAS)


@layers
@pytest.mark.parametrize("shape", [(), (1,), (2, 3, 5, 7), (3, 0, 2)])
def test_top_is_the_formula(text, shape):
    case = build(text, [shape])
    fill(case, np.random.default_rng(1), 2)
    (top,) = case.forward()
    expected = np.array([FORMULAS[text](float(x)) for x in case.bottom[0].data.reshape(-1)]).reshape(shape)
    np.testing.assert_allclose(top, expected, 1e-5, 1e-6)


@layers
def test_diff_is_the_slope(text):
    rng = np.random.default_rng(2)
    case = build(text, [(2, 3, 5, 7)])
    fill(case, rng, 3)
    check_gradient(case, 0, rng, skip=(abs(case.bottom[0].data[..., None] - KINKS) < 0.05).any(axis=-1))
    check_manners(case, rng)


@layers
def test_arrays_of_several_blocks_are_done_to_the_end(text):
    rng = np.random.default_rng(3)
    small, large = build(text, [(BLOCK // 2,)]), build(text, [(5, BLOCK // 2)])
    fill(small, rng)
    large.bottom[0].data[...] = small.bottom[0].data
    small.top[0].diff[...] = large.top[0].diff[...] = rng.standard_normal(BLOCK // 2)
    for one, all_five in ((small.forward(), large.forward()), (small.backward(), large.backward())):
        np.testing.assert_array_equal(np.broadcast_to(one[0], all_five[0].shape), all_five[0])


@layers
def test_runs_in_place(text):
    rng = np.random.default_rng(4)
    apart, in_place = build(text, [(4, 5)]), build(f'{text} bottom: "x" top: "x"', [(4, 5)])
    fill(apart, rng)
    in_place.bottom[0].data[...] = apart.bottom[0].data
    np.testing.assert_array_equal(in_place.forward()[0], apart.forward()[0])
    if "bottom" in in_place.layer.reads:
        return  # its own bottom is gone: the net refuses
    in_place.top[0].diff[...] = apart.top[0].diff[...] = rng.standard_normal((4, 5))
    np.testing.assert_array_equal(in_place.backward()[0], apart.backward()[0])


@pytest.mark.parametrize(
    ("text", "x", "slope"),
    [
        ('type: "AbsVal"', [-2, -0.0, 0, 2], [-1, 0, 0, 1]),
        ('type: "Clip" clip_param { min: -1 max: 1 }', [-1.5, -1, 1, 1.5], [0, 1, 1, 0]),
        ('type: "ELU" elu_param { alpha: 0.5 }', [-1e-30, 0, 1e-30], [0.5, 0.5, 1]),
        ('type: "ReLU6"', [-1, 0, 1, 6, 7], [0, 0, 1, 0, 0]),
        ('type: "HardSwish"', [-4, -3, 3, 4], [0, -0.5, 1.5, 1]),
        ('type: "BNLL"', [-1e4, -104, 104, 1e4], [0, 0, 1, 1]),
        ('type: "Swish"', [-1e4, 1e4], [0, 1]),
    ],
)
@pytest.mark.parametrize("names", ['bottom: "x" top: "y"', 'bottom: "x" top: "x"'])
def test_slopes_at_kinks_and_far_out(text, names, x, slope):
    case = build(f"{text} {names}", [(len(x),)])
    case.bottom[0].data[...] = x
    case.forward()
    case.top[0].diff[...] = 1
    np.testing.assert_allclose(case.backward()[0], slope, 1e-6, 1e-30)


def test_threshold_says_which_values_are_above_it():
    case = build('type: "Threshold" threshold_param { threshold: 0.5 }', [(4,)])
    case.bottom[0].data[...] = [-1, 0.5, 0.50001, np.inf]
    assert case.forward()[0].tolist() == [0, 0, 1, 1]
    assert not case.layer.differentiable(0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('type: "Clip"', "give clip_param both min and max"),
        ('type: "Clip" clip_param { min: 2 max: 1 }', "min: 2 is above max: 1; swap them"),
        ('type: "Exp" exp_param { base: 0 }', "base: 0 must be above 0, or -1 for e"),
        (
            'type: "Exp" exp_param { base: 10 shift: 400 }',
            r"base \^ shift is beyond float32 with base 10 and shift 400",
        ),
        ('type: "Log" log_param { base: 1 }', "base: 1 must be above 0 and not 1, or -1 for e"),
    ],
)
def test_messages(text, message):
    with pytest.raises(LayerError, match=message):
        build(text, [(2,)])


@pytest.mark.parametrize("x", [-1e30, -200, -88, 88, 200, 1e30])
def test_sigmoid_saturates_without_overflow(x):
    case = build('type: "Sigmoid"', [(1,)])
    case.bottom[0].data[...] = x
    assert case.forward()[0] == (x > 0)
    case.top[0].diff[...] = 1
    assert case.backward()[0] == 0


def test_power_is_quiet_where_it_has_no_value():
    case = build('type: "Power" power_param { power: -0.5 }', [(3,)])
    case.bottom[0].data[...] = [-4, 0, 4]
    np.testing.assert_array_equal(case.forward()[0], [np.nan, np.inf, 0.5])


@pytest.mark.parametrize(
    ("param", "reads"), [("", ()), ("power: 0", ()), ("power: 2 scale: 0", ()), ("power: 2", ("bottom",))]
)
def test_power_reads_its_bottom_only_where_the_slope_depends_on_it(param, reads):
    assert build(f'type: "Power" power_param {{ {param} }}', [(1,)]).layer.reads == reads


def test_power_has_a_slope_at_zero():
    case = build('type: "Power" power_param { power: 3 }', [(1,)])
    case.top[0].diff[...] = 1
    case.forward()
    assert case.backward()[0] == 0


def test_huge_input_overflows_to_infinity_quietly():
    case = build('type: "Power" power_param { power: 2 }', [(1,)])
    case.bottom[0].data[...] = 1e30
    assert case.forward()[0] == np.inf
