"""ContrastiveLoss against its definition."""

import math

import numpy as np
import pytest

from tests.layers.loss.checks import case_of, check


@pytest.mark.parametrize("legacy", [False, True])
def test_contrastive(rng, legacy):
    a, b = rng.standard_normal((2, 6, 3)).astype(np.float32)
    similar = np.array([0, 1, 0, 2, 0.5, 0], np.float32)  # the whole part of 0.5 is 0
    expected = 0.0
    for n in range(6):
        squared = float(((a[n] - b[n]).astype(np.float64) ** 2).sum())
        if int(similar[n]):
            expected += squared
        else:
            expected += max(0.0, 3 - squared) if legacy else max(0.0, 3 - math.sqrt(squared)) ** 2
    text = f'type: "ContrastiveLoss" contrastive_loss_param {{ margin: 3 legacy_version: {str(legacy).lower()} }}'
    check(case_of(text, [(6, 3), (6, 3), (6,)], [a, b, similar]), expected / 12, bottoms=(0, 1))


def test_contrastive_of_two_labels_that_are_equal_or_not(rng):
    a, b = rng.standard_normal((2, 5, 3)).astype(np.float32)
    labels = [[4, 0, 7, 2.5, -1], [4, 0, 3, 2, 1]]  # the whole parts of 2.5 and 2 are equal
    expected = 0.0
    for n, similar in enumerate([True, True, False, True, False]):
        distance = math.sqrt(((a[n] - b[n]).astype(np.float64) ** 2).sum())
        expected += distance**2 if similar else max(0.0, 3 - distance) ** 2
    case = case_of(
        'type: "ContrastiveLoss" contrastive_loss_param { margin: 3 }', [(5, 3)] * 2 + [(5,)] * 2, [a, b, *labels]
    )
    check(case, expected / 10, bottoms=(0, 1))


def test_contrastive_pair_in_one_point_has_no_derivative_but_a_loss():
    case = case_of('type: "ContrastiveLoss"', [(1, 2), (1, 2), (1,)], [1, 1, 0])
    assert case.forward()[0] == 0.5
    case.top[0].diff[...] = 1
    assert (case.backward()[0] == 0).all()
