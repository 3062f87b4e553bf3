"""ArgMax's operation."""

import numpy as np
import pytest

from caffepy.layers.utility.argmax import argmax_forward
from tests.gpu_mode import check_bodies, noise

pytestmark = pytest.mark.usefixtures("gpu")


@pytest.mark.parametrize(("places", "values"), [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("extent", [(3, 1001, 1, 5), (2, 21, 15, 1), (2, 4, 3, 4)])
def test_argmax(extent: tuple[int, int, int, int], places: bool, values: bool) -> None:
    outer, channels, inner, top_k = extent
    data = noise(outer, channels, inner).round(1)  # ties
    data[0, 2, 0], data[0, 1, 0], data[-1, 3, 0] = np.nan, -0.0, -np.inf
    top = np.full((outer, places + values, top_k, inner), np.nan, np.float32)
    check_bodies(argmax_forward, data, *extent, top, places=places, values=values, rtol=0, atol=0)
