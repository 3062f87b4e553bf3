"""SmoothL1Loss against its definition."""

import numpy as np
import pytest

from tests.layers.loss.checks import case_of, check


@pytest.mark.parametrize("bottoms", [2, 3, 4])
@pytest.mark.parametrize("sigma", [1, 3])
def test_smooth_l1(rng, bottoms, sigma):
    values = [*rng.standard_normal((2, 2, 3, 4)), *rng.uniform(0, 2, (2, 2, 3, 4))][:bottoms]
    values = [value.astype(np.float32) for value in values]
    ones, expected = np.ones((2, 3, 4)), 0.0
    for a, b, inside, outside in zip(*(v.flat for v in [*values, ones, ones][:4]), strict=True):
        x = abs(float(inside) * (float(a) - float(b)))
        expected += float(outside) * (sigma**2 * x * x / 2 if x < 1 / sigma**2 else x - 0.5 / sigma**2)
    text = f'type: "SmoothL1Loss" smooth_l1_loss_param {{ sigma: {sigma} }}'
    check(case_of(text, [(2, 3, 4)] * bottoms, values), expected / 2, bottoms=(0, 1), step=1e-3)
