"""Tile's operations."""

import numpy as np
import pytest

from caffepy.layers.utility.tile import tile_backward, tile_forward
from tests.gpu_mode import check_bodies, noise


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(("outer", "tiles", "run"), [(3, 4, 100), (1, 1, 1), (70, 2, 5)])
def test_tile(outer: int, tiles: int, run: int) -> None:
    part, whole = noise(outer, run), noise(outer, tiles, run)
    check_bodies(tile_forward, part, tiles, run, np.full_like(whole, np.nan), rtol=0, atol=0)
    check_bodies(tile_backward, whole, tiles, run, np.full_like(part, np.nan))
