"""ArgMax against sorted pairs of value and place, as Caffe sorts them."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.runner import build, fill


def best(column, top_k):
    return sorted(((value, place) for place, value in enumerate(column)), reverse=True)[:top_k]


@pytest.mark.parametrize("out_max_val", [False, True])
@pytest.mark.parametrize("top_k", [1, 3])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("shape", "axis"), [((2, 5, 3), 1), ((2, 5, 3), -1), ((4, 2), 0), ((5,), 0)])
def test_along_an_axis(shape, axis, ties, top_k, out_max_val):
    text = f"axis: {axis} top_k: {top_k} out_max_val: {str(out_max_val).lower()}"
    case = build(f'type: "ArgMax" argmax_param {{ {text} }}', [shape])
    fill(case, np.random.default_rng(1), 0.7 if ties else 1)
    if ties:
        case.bottom[0].data[...] = case.bottom[0].data.round()
    expected = np.apply_along_axis(
        lambda column: [pair[not out_max_val] for pair in best(column, top_k)], axis, case.bottom[0].data
    )
    np.testing.assert_array_equal(case.forward()[0], expected)
    assert not case.layer.differentiable(0)


@pytest.mark.parametrize("top_k", [1, 2])
@pytest.mark.parametrize(
    ("shape", "tail"), [((3, 4), ()), ((3, 2, 2), ()), ((3, 2, 1, 2, 1), (1, 1)), ((3, 4, 1, 1), (1,))]
)
def test_over_all_of_an_image(shape, tail, top_k):
    case = build(f'type: "ArgMax" argmax_param {{ top_k: {top_k} out_max_val: true }}', [shape])
    fill(case, np.random.default_rng(2))
    (top,) = case.forward()
    assert top.shape == (3, 2, top_k, *tail)
    for n, image in enumerate(case.bottom[0].data.reshape(3, -1)):
        values, places = zip(*best(image, top_k), strict=True)
        np.testing.assert_array_equal(top[n].reshape(2, top_k), [places, values])
    case = build('type: "ArgMax"', [shape])
    assert case.forward()[0].shape == (3, 1, 1, *tail)


def test_nan_is_the_greatest_and_zeros_are_equal():
    case = build('type: "ArgMax" argmax_param { axis: 0 top_k: 3 }', [(4,)])
    case.bottom[0].data[...] = [np.nan, -0.0, 0.0, -np.inf]
    assert case.forward()[0].tolist() == [0, 2, 1]
    case = build('type: "ArgMax" argmax_param { axis: 0 }', [(4,)])
    case.bottom[0].data[...] = [np.inf, np.nan, 0.0, 1]
    assert case.forward()[0].tolist() == [1]


@pytest.mark.parametrize(
    ("text", "shape", "message"),
    [
        ("top_k: 0", (2, 3), "top_k: 0 must be at least 1 and at most 3"),
        ("top_k: 4", (2, 3), "top_k: 4 must be at least 1 and at most 3"),
        ("axis: 0 top_k: 3", (2, 3), "top_k: 3 must be at least 1 and at most 2"),
        ("axis: 2", (2, 3), r"axis: 2 is outside bottom 0, whose shape is \(2, 3\)"),
        ("", (), r"must have 1 axis at least, got shape \(\)"),
    ],
)
def test_messages(text, shape, message):
    with pytest.raises(LayerError, match=message):
        build(f'type: "ArgMax" argmax_param {{ {text} }}', [shape])
