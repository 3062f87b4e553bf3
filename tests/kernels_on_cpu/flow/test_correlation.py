"""Correlation's and Correlation1D's operations."""

import numpy as np
import pytest

from caffepy.layers.flow.correlation import Patches, correlation_backward, correlation_forward
from tests.gpu_mode import check_bodies, noise

pytestmark = pytest.mark.usefixtures("gpu")


@pytest.mark.parametrize("subtract", [False, True])
@pytest.mark.parametrize(
    ("patches", "top"),
    [
        ((3, 2, 2, -1, -1, -2, -2, 3, 3), (3, 4)),
        ((1, 1, 1, 0, 0, 0, -3, 1, 3), (6, 7)),
        ((3, 1, 2, 0, 2, 0, 0, 1, 2), (4, 2)),
    ],
)
def test_correlation(patches: tuple[int, ...], top: tuple[int, int], subtract: bool) -> None:
    first, second, grid = noise(2, 3, 6, 7), noise(2, 3, 6, 7)[::-1].copy(), patches[-2] * patches[-1]
    sizes, constants = (3, 6, 7, *top), {"patches": Patches(*patches, subtract)}
    check_bodies(correlation_forward, first, second, *sizes, noise(2, grid, *top), **constants)
    for own, other, side in ((first, second, 1), (second, first, -1)):
        diff = np.full_like(own, np.nan)
        check_bodies(correlation_backward, own, other, noise(2, grid, *top), side, *sizes, diff, **constants)
