"""Scale and Bias against the definition: one number per place of theirs meets every place of the bottom it covers."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.runner import build, check_gradient, check_manners, fill

AXES = {
    "": ((2, 3, 4, 5), (3,), (1, 3, 1, 1)),
    "axis: 0 num_axes: -1": ((2, 3, 4), (2, 3, 4), (2, 3, 4)),
    "axis: 0": ((2, 3), (2,), (2, 1)),
    "axis: 2": ((2, 3, 4), (4,), (1, 1, 4)),
    "axis: -1": ((2, 3, 4), (4,), (1, 1, 4)),
    "axis: 1 num_axes: 2": ((2, 3, 4, 5), (3, 4), (1, 3, 4, 1)),
    "axis: 1 num_axes: -1": ((3, 2, 4, 3), (2, 4, 3), (1, 2, 4, 3)),
    "num_axes: 0": ((2, 3, 4), (), (1, 1, 1)),
}
PLACES = ['bottom: "x" top: "y"', 'bottom: "x" top: "x"']


def case_of(text, names, bias, seed, shape=None):
    rng = np.random.default_rng(seed)
    bias_text = "bias_term: true" if bias else ""
    case = build(f'type: "Scale" {names} scale_param {{ {text} {bias_text} }}', [shape or AXES[text][0]])
    fill(case, rng)
    return case, rng


@pytest.mark.parametrize("text", AXES)
@pytest.mark.parametrize("names", PLACES)
@pytest.mark.parametrize("bias", [False, True])
def test_learned_scale(text, names, bias):
    _, scale_shape, broadcast = AXES[text]
    case, rng = case_of(text, names, bias, 1)
    assert [w.shape for w in case.weights] == [scale_shape] * (1 + bias)
    expected = case.bottom[0].data * case.weights[0].data.reshape(broadcast)
    if bias:
        expected += case.weights[1].data.reshape(broadcast)
    np.testing.assert_allclose(case.forward()[0], expected, 1e-6, 1e-6)

    check_gradient(case, 0, rng)
    for index in range(1 + bias):
        check_gradient(case, ("param", index), rng)
    check_manners(case, rng)


@pytest.mark.parametrize(
    "text", ["axis: 0", "axis: 1", "axis: 2", "axis: 0 bias_term: true", "axis: -1 bias_term: true"]
)
@pytest.mark.parametrize("names", ['bottom: "x" bottom: "s" top: "y"', 'bottom: "x" bottom: "s" top: "x"'])
def test_scale_from_the_second_bottom(text, names):
    rng = np.random.default_rng(2)
    axis = int(text.split()[1]) % 3
    shape = (2, 3, 4)
    case = build(f'type: "Scale" {names} scale_param {{ {text} }}', [shape, shape[axis : axis + 1]])
    fill(case, rng)
    broadcast = np.ones(3, int)
    broadcast[axis] = shape[axis]
    expected = case.bottom[0].data * case.bottom[1].data.reshape(broadcast)
    if "bias" in text:
        expected += case.weights[0].data.reshape(broadcast)
    np.testing.assert_allclose(case.forward()[0], expected, 1e-6, 1e-6)
    places = [0, 1] + ([("param", 0)] if "bias" in text else [])
    for where in places:
        check_gradient(case, where, rng)
    check_manners(case, rng)


def test_second_bottom_may_be_one_number_or_span_several_axes():
    for scale_shape, text in (((), ""), ((3, 4), "axis: 1"), ((2, 3, 4), "axis: 0")):
        case = build(f'type: "Scale" scale_param {{ {text} }}', [(2, 3, 4), scale_shape])
        fill(case, np.random.default_rng(3))
        np.testing.assert_allclose(case.forward()[0], case.bottom[0].data * case.bottom[1].data, 1e-6)


def test_second_bottom_diff_is_overwritten_and_weight_diffs_add_up():
    case = build('type: "Scale" scale_param { axis: 0 bias_term: true }', [(2,), (2,)])
    case.bottom[0].data[...] = [3, 4]
    case.forward()
    case.bottom[1].diff[...] = case.weights[0].diff[...] = 100
    case.top[0].diff[...] = [1, 2]
    case.backward()
    assert case.bottom[1].diff.tolist() == [3, 8]
    assert case.weights[0].diff.tolist() == [101, 102]


def test_frozen_weights_get_no_diff():
    case, _ = case_of("", PLACES[0], True, 4)
    case.forward()
    case.layer.param_propagate_down = [False, False]
    for weight in case.weights:
        weight.diff[...] = 7
    case.backward()
    assert all((weight.diff == 7).all() for weight in case.weights)


def test_fillers_default_to_the_identity():
    case = build('type: "Scale" scale_param { bias_term: true }', [(2, 3)])
    assert case.weights[0].data.tolist() == [1, 1, 1]
    assert case.weights[1].data.tolist() == [0, 0, 0]
    case = build('type: "Scale" scale_param { filler { value: 5 } bias_term: true bias_filler { value: 6 } }', [(2, 3)])
    assert case.weights[0].data.tolist() == [5, 5, 5]
    assert case.weights[1].data.tolist() == [6, 6, 6]


@pytest.mark.parametrize("shape", [(3, 40, 1000), (1, 3, 70000), (70, 1000), (2, 70000, 1)])
def test_arrays_of_several_blocks_are_done_to_the_end(shape):
    case, _ = case_of("", PLACES[0], True, 5, shape)
    x, (scale, bias) = case.bottom[0].data, (w.data.reshape(1, -1, *[1] * (len(shape) - 2)) for w in case.weights)
    np.testing.assert_allclose(case.forward()[0], x * scale + bias, 1e-6, 1e-6)


def test_batch_may_grow_in_place():
    case = build('type: "Scale" bottom: "x" top: "x"', [(2, 3)])
    case.reshape((7, 3))
    case.bottom[0].data[...] = 2
    case.forward()
    case.top[0].diff[...] = 1
    case.backward()
    assert case.weights[0].diff.tolist() == [14, 14, 14]


@pytest.mark.parametrize(
    ("text", "shapes", "message"),
    [
        ("axis: 2", [(2, 3)], r"axis: 2 is outside bottom 0, whose shape is \(2, 3\)"),
        ("num_axes: 2", [(2, 3)], r"num_axes: 2 from axis 1 on goes beyond bottom shape \(2, 3\)"),
        ("num_axes: -2", [(2, 3)], "num_axes: -2 must be at least 0"),
        ("", [(2, 3), (4,)], r"bottom shape \(2, 3\) must be \(4,\), the scale's shape, from axis 1 on"),
        ("", [(2, 3), (3, 1)], "must be"),
        ("axis: 3", [(2, 3), (3,)], "axis: 3 is outside"),
        ("filler { type: 'nonesuch' }", [(2, 3)], "unknown filler type 'nonesuch'"),
    ],
)
def test_errors(text, shapes, message):
    with pytest.raises(LayerError, match=message):
        build(f'type: "Scale" scale_param {{ {text} }}', shapes)


def test_scale_may_not_be_overwritten():
    with pytest.raises(LayerError, match="in place on bottom 0 only"):
        build('type: "Scale" bottom: "x" bottom: "s" top: "s" scale_param { axis: 0 }', [(3,), (3,)])


def test_weights_keep_their_shape_when_the_bottom_changes():
    case = build('type: "Scale"', [(2, 3, 4)])
    case.reshape((5, 3, 1))
    with pytest.raises(LayerError, match=r"bottom shape \(2, 4, 4\) must be \(3,\)"):
        case.reshape((2, 4, 4))


@pytest.mark.parametrize("text", AXES)
@pytest.mark.parametrize("names", PLACES)
def test_learned_bias(text, names):
    shape, bias_shape, broadcast = AXES[text]
    rng = np.random.default_rng(6)
    case = build(f'type: "Bias" {names} bias_param {{ {text} }}', [shape])
    assert [w.shape for w in case.weights] == [bias_shape]
    assert (case.weights[0].data == 0).all()
    fill(case, rng)
    expected = case.bottom[0].data + case.weights[0].data.reshape(broadcast)
    np.testing.assert_array_equal(case.forward()[0], expected)
    for where in (0, ("param", 0)):
        check_gradient(case, where, rng)
    check_manners(case, rng)


@pytest.mark.parametrize("names", ['bottom: "x" bottom: "s" top: "y"', 'bottom: "x" bottom: "s" top: "x"'])
def test_bias_from_the_second_bottom(names):
    rng = np.random.default_rng(7)
    case = build(f'type: "Bias" {names}', [(2, 3, 4), (3, 4)])
    fill(case, rng)
    expected = case.bottom[0].data + case.bottom[1].data
    np.testing.assert_array_equal(case.forward()[0], expected)
    for where in (0, 1):
        check_gradient(case, where, rng)
    check_manners(case, rng)


def test_bias_errors_call_it_bias():
    with pytest.raises(LayerError, match=r"bottom shape \(2, 3\) must be \(4,\), the bias's shape, from axis 1 on"):
        build('type: "Bias"', [(2, 3), (4,)])
    with pytest.raises(LayerError, match="not on bottom 1, the bias"):
        build('type: "Bias" bottom: "x" bottom: "s" top: "s" bias_param { axis: 0 }', [(3,), (3,)])
