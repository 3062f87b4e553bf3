"""PReLU against its definition, apart and in place."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.runner import build, check_gradient, check_manners, fill

PLACES = ['bottom: "x" top: "y"', 'bottom: "x" top: "x"']


@pytest.mark.parametrize("names", PLACES)
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("shape", [(2, 3), (3, 2, 5), (2, 3, 4, 5), (0, 3, 2)])
def test_top_and_slopes(shape, shared, names):
    rng = np.random.default_rng(1)
    text = "prelu_param { channel_shared: true }" if shared else ""
    case = build(f'type: "PReLU" {names} {text}', [shape])
    assert case.weights[0].shape == (() if shared else (shape[1],))
    fill(case, rng)
    x = case.bottom[0].data.copy()
    slope = np.broadcast_to(case.weights[0].data, (shape[1],))
    expected = np.array(
        [v if v > 0 else slope[i // int(np.prod(shape[2:])) % shape[1]] * v for i, v in enumerate(x.reshape(-1))]
    )
    np.testing.assert_allclose(case.forward()[0], expected.reshape(shape), 1e-6)
    if x.size:
        case.bottom[0].data[...] = x
        check_gradient(case, 0, rng, skip=abs(x) < 0.03)
        check_gradient(case, ("param", 0), rng)
        check_manners(case, rng)


def test_slope_is_a_quarter_unless_a_filler_is_given():
    assert build('type: "PReLU"', [(2, 3)]).weights[0].data.tolist() == [0.25] * 3
    case = build('type: "PReLU" prelu_param { filler { value: -2 } }', [(2, 3)])
    assert case.weights[0].data.tolist() == [-2] * 3
    case.bottom[0].data[...] = [-1, -0.0, 1]
    case.forward()
    case.top[0].diff[...] = 1
    np.testing.assert_array_equal(case.backward()[0], [[-2, -2, 1]] * 2)


@pytest.mark.parametrize("shape", [(3, 40, 1000), (70, 1000)])
def test_arrays_of_several_blocks_are_done_to_the_end(shape):
    case = build('type: "PReLU"', [shape])
    fill(case, np.random.default_rng(2))
    x, slope = case.bottom[0].data, case.weights[0].data.reshape(1, -1, *[1] * (len(shape) - 2))
    np.testing.assert_allclose(case.forward()[0], np.where(x > 0, x, slope * x), 1e-6)
    case.top[0].diff[...] = 1
    np.testing.assert_allclose(case.backward()[0], np.where(x > 0, 1, slope), 1e-6)
    sums = np.minimum(x, 0).sum(axis=tuple(i for i in range(x.ndim) if i != 1))
    np.testing.assert_allclose(case.weights[0].diff, sums, 1e-3, 1e-3)


def test_messages():
    with pytest.raises(LayerError, match=r"bottom 'bottom0' must have 2 axes at least, got shape \(3,\)"):
        build('type: "PReLU"', [(3,)])
    case = build('type: "PReLU"', [(2, 3)])
    with pytest.raises(LayerError, match=r"has shape \(2, 4\); the slopes \(3,\) are one for each of its channels"):
        case.reshape((2, 4))
