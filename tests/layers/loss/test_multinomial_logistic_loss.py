"""MultinomialLogisticLoss against its definition."""

import math

import numpy as np

from tests.layers.loss.checks import case_of, check


def test_multinomial_logistic(rng):
    p, labels = rng.uniform(0.1, 1, (5, 2, 2)).astype(np.float32), rng.integers(0, 4, 5)
    expected = -sum(math.log(p.reshape(5, 4)[n, labels[n]]) for n in range(5)) / 5
    case = case_of('type: "MultinomialLogisticLoss"', [(5, 2, 2), (5, 1, 1)], [p, labels[:, None, None]])
    check(case, expected, step=1e-3)


def test_multinomial_logistic_takes_no_logarithm_below_caffes_threshold():
    case = case_of('type: "MultinomialLogisticLoss"', [(1, 2), (1,)], [[[0, 1]], 0])
    np.testing.assert_allclose(case.forward()[0], -math.log(1e-20), 1e-6)
    case.top[0].diff[...] = 1
    np.testing.assert_allclose(case.backward()[0], [[-1e20, 0]], 1e-6)
