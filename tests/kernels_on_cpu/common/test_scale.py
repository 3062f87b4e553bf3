"""Scale's and Bias's operations."""

import numpy as np
import pytest

from caffepy.layers.common.scale import bias_backward_weights, scale_backward, scale_backward_weights, scale_forward
from tests.gpu_mode import check_bodies, noise

EXTENTS = [(2, 3, 20), (5, 2, 7), (1, 1, 1), (300, 4, 1), (1, 2, 1030), (3, 2, 256)]


pytestmark = pytest.mark.usefixtures("gpu")


def per_channel(channels: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.5, 2, channels).astype(np.float32)


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("extent", EXTENTS)
def test_scale(extent: tuple[int, int, int], start: int) -> None:
    data, diff, written = noise(*extent), noise(*extent)[::-1].copy(), np.full(extent, np.nan, np.float32)
    scale, bias = per_channel(extent[1], 0), per_channel(extent[1], 1)
    check_bodies(scale_forward, data, scale, bias, *extent, written, written.copy(), start=start)
    check_bodies(scale_forward, data, scale, None, *extent, None, data, start=start)
    check_bodies(scale_forward, data, None, bias, *extent, None, written, start=start)
    check_bodies(scale_backward, diff, scale, *extent, written, start=start)
    check_bodies(scale_backward, diff, scale, *extent, diff, start=start)


@pytest.mark.parametrize("extent", EXTENTS)
def test_scale_weights(extent: tuple[int, int, int]) -> None:
    data, diff, gathered = noise(*extent), noise(*extent)[::-1].copy(), per_channel(extent[1], 0)
    check_bodies(scale_backward_weights, data, diff, *extent, gathered, accumulate=True, atol=1e-5)
    check_bodies(scale_backward_weights, data, diff, *extent, gathered * np.nan, accumulate=False, atol=1e-5)
    check_bodies(bias_backward_weights, diff, *extent, gathered, accumulate=True, atol=1e-5)
    check_bodies(bias_backward_weights, diff, *extent, gathered * np.nan, accumulate=False, atol=1e-5)
