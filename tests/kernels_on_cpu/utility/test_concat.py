"""Copies of parts: by float4 where extents allow it, else value by value."""

import numpy as np
import pytest

from caffepy.layers.utility.concat import concat_forward, slice_forward
from tests.gpu_mode import check_bodies


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize(
    ("runs", "size", "offset", "run"),
    [
        (1, 1000, 24, 1024),
        (5, 12, 8, 40),
        (5, 12, 7, 40),
        (5, 12, 8, 41),
        (5, 11, 8, 40),
        (300, 1, 0, 1),
    ],
)
def test_parts(runs: int, size: int, offset: int, run: int, start: int) -> None:
    rng = np.random.default_rng(0)
    part, whole = (rng.standard_normal((runs, extent)).astype(np.float32) for extent in (size, run))
    check_bodies(concat_forward, part, runs, size, offset, run, whole, rtol=0, atol=0, start=start)
    check_bodies(slice_forward, whole, runs, size, offset, run, part, rtol=0, atol=0, start=start)
