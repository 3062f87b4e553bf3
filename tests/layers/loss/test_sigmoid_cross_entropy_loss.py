"""SigmoidCrossEntropyLoss against its definition."""

import math

import numpy as np
import pytest

from tests.layers.loss.checks import case_of, check


@pytest.mark.parametrize(
    ("text", "divisor"),
    [
        ("", 3),
        ("loss_param { normalize: true }", 12),
        ("loss_param { normalization: NONE }", 1),
        ("loss_param { normalization: FULL ignore_label: -1 }", 12),
        ("loss_param { normalization: VALID ignore_label: -1 }", 8),
    ],
)
def test_sigmoid_cross_entropy(rng, text, divisor):
    x, t = 2 * rng.standard_normal((3, 4)).astype(np.float32), rng.uniform(0, 1, (3, 4)).astype(np.float32)
    if "ignore_label" in text:
        t[:, 1] = t[0, 0] = -1
    expected = 0.0
    for score, target in zip(x.flat, t.flat, strict=True):
        p = 1 / (1 + math.exp(-score))
        expected -= 0.0 if target == -1 else target * math.log(p) + (1 - target) * math.log(1 - p)
    check(case_of(f'type: "SigmoidCrossEntropyLoss" {text}', [(3, 4)] * 2, [x, t]), expected / divisor)


def test_sigmoid_cross_entropy_of_large_scores():
    case = case_of('type: "SigmoidCrossEntropyLoss"', [(1, 2)] * 2, [[[1e4, -1e4]], [[0, 1]]])
    assert case.forward()[0] == 2e4
    case.top[0].diff[...] = 1
    assert (case.backward()[0] == [[1, -1]]).all()
