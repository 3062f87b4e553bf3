"""Rows taken by number."""

import numpy as np
import pytest

from caffepy.layers.basis.rows import gather_backward, gather_forward
from tests.gpu_mode import check_bodies, noise


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("inner", [1, 130])
@pytest.mark.parametrize("places", [[1, 1, 0.9, 4, 1], [-1, np.nan, 5, 1e30, 2, -0.5], [3]])
def test_rows_that_are_none_become_zeros(places: list[float], inner: int) -> None:
    rows, chosen = noise(5, inner), np.array(places, np.float32)
    top = noise(len(places), inner)
    check_bodies(gather_forward, rows, chosen, 5, len(places), np.full_like(top, np.nan), rtol=0, atol=0)
    check_bodies(gather_backward, top, chosen, 5, len(places), np.full_like(rows, np.nan))
