"""Embed: rows looked up one by one, and what the table gets back."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from caffepy.layers.common.embed import embed_backward_weights
from tests.gpu_mode import MODES, check_bodies, running
from tests.layers.runner import build, check_gradient, check_manners, fill


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(4, 3), (5,), (), (2, 0)])
def test_rows_of_the_table(shape, bias):
    rng = np.random.default_rng(0)
    case = build(f'type: "Embed" embed_param {{ num_output: 3 input_dim: 6 bias_term: {int(bias)} }}', [shape])
    fill(case, rng)
    case.bottom[0].data[...] = rng.integers(0, 6, shape)
    (top,) = case.forward()
    assert top.shape == (*shape, 3)
    for where in np.ndindex(shape):
        row = case.weights[0].data[int(case.bottom[0].data[where])]
        np.testing.assert_allclose(top[where], row + case.weights[1].data if bias else row, 1e-6)
    for index in range(len(case.weights)):
        check_gradient(case, ("param", index), rng)
    check_manners(case, rng)
    assert not case.layer.differentiable(0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("index", [6, -1, np.nan, 1e20])
def test_an_index_outside_the_table(mode, index):
    with running(mode):
        case = build('type: "Embed" embed_param { num_output: 2 input_dim: 6 }', [(2, 2)])
        case.bottom[0].data[...] = [[1, 2], [index, 3]]
        message = rf"index {index:g} at \(1, 0\) of bottom 'bottom0' is not one of the 6 rows of the table 0 to 5; mend"
        with pytest.raises(LayerError, match=message.replace("+", r"\+")):
            case.forward()


@pytest.mark.parametrize(("num", "outputs"), [(1, 1), (300, 5), (40, 700)])
def test_gpu_adds_rows_of_the_same_index(gpu, num, outputs):
    rng = np.random.default_rng(0)
    index = rng.integers(-1, 12, num).astype(np.float32)  # -1 and 11 are outside
    top_diff, weight_diff = rng.standard_normal((num, outputs)), rng.standard_normal((11, outputs))
    args = index, top_diff.astype(np.float32), 11, outputs, weight_diff.astype(np.float32)
    check_bodies(embed_backward_weights, *args, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("text", ["num_output: 3", "input_dim: 3"])
def test_errors(text):
    with pytest.raises(LayerError, match="num_output and input_dim must be at least 1, got"):
        build(f'type: "Embed" embed_param {{ {text} }}', [(2,)])
