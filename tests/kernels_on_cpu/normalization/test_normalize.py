"""Normalize's operations."""

import numpy as np
import pytest

from caffepy.layers.normalization.normalize import (
    How,
    normalize_backward,
    normalize_backward_weights,
    normalize_forward,
    normalize_lengths,
    normalize_sums,
)
from tests.gpu_mode import check_bodies, noise

pytestmark = pytest.mark.usefixtures("gpu")


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_normalize(shared: bool, across: bool) -> None:
    how, extent = How(across, shared, 0.1), (2, 150, 5)
    x, dy, scale = noise(*extent), 1 + noise(*extent), 2 + noise(1 if shared else 150)
    sums = (2,) if across else (2, 5)
    squares, along = np.abs(noise(*sums)) + 1, noise(*sums)
    check_bodies(normalize_sums, x, dy, None, *extent, squares, atol=1e-3, how=how)
    check_bodies(normalize_sums, x, dy, scale, *extent, squares, atol=1e-3, how=how)
    check_bodies(normalize_forward, x, squares, scale, *extent, dy, how=how)
    check_bodies(normalize_backward, x, dy, squares, along, scale, None, *extent, noise(*extent), atol=1e-5, how=how)
    check_bodies(normalize_backward_weights, x, dy, squares, *extent, scale, atol=1e-3, how=how)


@pytest.mark.parametrize("absolute", [False, True])
def test_normalize_lengths(absolute: bool) -> None:
    how, extent = How(False, True, 1e-6, absolute), (2, 150, 5)
    x, dy, lengths_diff = noise(*extent), 1 + noise(*extent), 2 + noise(2, 1, 5)
    sums, along = np.abs(noise(2, 5)) + 1, noise(2, 5)
    check_bodies(normalize_sums, x, None, None, *extent, sums, atol=1e-3, how=how)
    check_bodies(normalize_lengths, sums, lengths_diff, how=how)
    check_bodies(normalize_forward, x, sums, None, *extent, dy, how=how)
    check_bodies(
        normalize_backward, x, dy, sums, along, None, lengths_diff, *extent, noise(*extent), atol=1e-5, how=how
    )
