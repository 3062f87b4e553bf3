"""L1Loss against its definition."""

import math

import numpy as np
import pytest

from tests.layers.loss.checks import case_of, check


@pytest.mark.parametrize("bottoms", [1, 2])
@pytest.mark.parametrize("plateau", [0, 0.5])
def test_l1(rng, bottoms, plateau):
    values = rng.standard_normal((bottoms, 2, 3, 4)).astype(np.float32)
    size = np.abs(values[0] - (values[1] if bottoms == 2 else 0))
    text = f'type: "L1Loss" l1_loss_param {{ plateau: {plateau} }}'
    case = case_of(text, [(2, 3, 4)] * bottoms, values)
    check(case, size[size >= plateau].sum() / 2, bottoms=range(bottoms), step=1e-4)


@pytest.mark.parametrize("prescale", [False, True])
@pytest.mark.parametrize("plateau", [0, 1.2])
def test_l1_of_lengths(rng, prescale, plateau):
    values = rng.standard_normal((2, 2, 3, 4)).astype(np.float32)
    expected = 0.0
    for n, i in np.ndindex(2, 4):
        square = sum((float(values[0, n, c, i]) - float(values[1, n, c, i])) ** 2 for c in range(3))
        square /= 3 if prescale else 1
        expected += math.sqrt((square if square >= plateau**2 else 0) + 0.01)
    param = f"l2_per_location: true plateau: {plateau} l2_prescale_by_channels: {str(prescale).lower()}"
    case = case_of(f'type: "L1Loss" l1_loss_param {{ {param} }}', [(2, 3, 4)] * 2, values)
    check(case, expected / 2, bottoms=(0, 1), step=1e-3)


@pytest.mark.parametrize("l2", [False, True])
@pytest.mark.parametrize("by_entries", [False, True])
def test_l1_takes_nan_for_zero(l2, by_entries):
    param = f"l2_per_location: {l2} normalize_by_num_entries: {by_entries} epsilon: 0".lower()
    case = case_of(f'type: "L1Loss" l1_loss_param {{ {param} }}', [(1, 2, 2)], [[[[3, 0], [np.nan, 0]]]])
    divisor = 1.5 if by_entries else 1
    np.testing.assert_allclose(case.forward()[0], 3 / divisor, 1e-6)
    case.top[0].diff[...] = 6
    expected = [[[6, 0], [0, 0]]]
    np.testing.assert_allclose(case.backward()[0], np.array(expected) / divisor, 1e-6)
