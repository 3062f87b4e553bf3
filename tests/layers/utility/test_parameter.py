"""Parameter: a weight shown as a top."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.runner import build


def test_top_is_the_weight_and_its_diff_the_tops():
    case = build('type: "Parameter" parameter_param { shape { dim: 2 dim: 3 } }', [])
    assert (case.weights[0].data == 0).all()
    case.weights[0].data[...] = np.arange(6).reshape(2, 3)
    assert case.forward()[0].tolist() == [[0, 1, 2], [3, 4, 5]]
    case.weights[0].diff[...] = 100
    case.top[0].diff[...] = 7
    case.backward()
    assert (case.weights[0].diff == 7).all()
    case.layer.param_propagate_down = [False]
    case.top[0].diff[...] = 8
    case.backward()
    assert (case.weights[0].diff == 7).all()


def test_a_negative_dim():
    with pytest.raises(LayerError, match=r"shape \(2, -1\): every dim must be at least 0"):
        build('type: "Parameter" parameter_param { shape { dim: 2 dim: -1 } }', [])
