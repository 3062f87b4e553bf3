"""HingeLoss against its definition."""

import numpy as np
import pytest

from tests.layers.loss.checks import case_of, check


@pytest.mark.parametrize(("norm", "power"), [("", 1), ("hinge_loss_param { norm: L2 }", 2)])
@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 2, 1)])
def test_hinge(rng, shape, norm, power):
    scores, labels = rng.standard_normal(shape).astype(np.float32), rng.integers(0, 3, shape[0])
    expected = 0.0
    for n, row in enumerate(scores.reshape(shape[0], -1)):
        for c, s in enumerate(row):
            expected += max(0.0, 1 - s if c == labels[n] else 1 + s) ** power
    case = case_of(f'type: "HingeLoss" {norm}', [shape, (shape[0], 1)], [scores, labels[:, None]])
    check(case, expected / shape[0], step=1e-4 if power == 1 else 1e-2)
