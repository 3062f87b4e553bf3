"""SigmoidLoss against its definition."""

import math

import numpy as np

from tests.layers.runner import build, check_gradient, check_manners, fill


def test_sigmoid_loss():
    case = build('type: "SigmoidLoss"', [(3, 4), (3, 4, 1)])
    rng = np.random.default_rng(0)
    fill(case, rng)
    labels = np.float32([[0, 1, 1.5, 2], [-1, 1, 0, 0.5], [1, 1, -1.5, 0]])
    case.bottom[1].data[...] = labels[..., None]
    expected = 0.0
    for x, label in zip(case.bottom[0].data.flat, labels.flat, strict=True):
        p = 1 / (1 + math.exp(-x))
        expected -= math.log(p if int(label) == 1 else 1 - p) / 3
    np.testing.assert_allclose(case.forward()[0], expected, 1e-5)
    check_gradient(case, 0, rng)
    check_manners(case, rng)
    assert not case.layer.differentiable(1)
