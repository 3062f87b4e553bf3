"""EuclideanLoss against its definition."""

import numpy as np
import pytest

from tests.layers.loss.checks import case_of, check


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 5, 1), (4,)])
def test_euclidean(rng, shape):
    a, b = rng.standard_normal((2, *shape)).astype(np.float32)
    expected = sum((float(x) - float(y)) ** 2 for x, y in zip(a.flat, b.flat, strict=True)) / 2 / shape[0]
    check(case_of('type: "EuclideanLoss"', [shape] * 2, [a, b]), expected, bottoms=(0, 1))
