"""PReLU's operations."""

import numpy as np
import pytest

from caffepy.layers.activation.prelu import prelu_backward, prelu_backward_weights, prelu_forward
from caffepy.layers.basis.row_plan import shares_of
from tests.gpu_mode import check_bodies, noise

EXTENTS = [(2, 3, 20), (5, 2, 7), (1, 1, 1), (300, 4, 1), (1, 2, 1030), (3, 2, 256)]


pytestmark = pytest.mark.usefixtures("gpu")


def per_channel(channels: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.5, 2, channels).astype(np.float32)


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("extent", EXTENTS)
def test_prelu(extent: tuple[int, int, int], start: int) -> None:
    data, diff, written = noise(*extent), noise(*extent)[::-1].copy(), np.full(extent, np.nan, np.float32)
    data[0, 0, 0] = np.nan
    slope = per_channel(extent[1], 1) - 1
    check_bodies(prelu_forward, data, slope, *extent, written, written.copy(), start=start)
    check_bodies(prelu_forward, data, slope, *extent, None, data, start=start)
    check_bodies(prelu_backward, data, diff, slope, *extent, written, start=start)
    data[0, 0, 0] = 0
    check_prelu_weights(data, diff, extent, 1e-5)


def check_prelu_weights(data: np.ndarray, diff: np.ndarray, extent: tuple[int, int, int], atol: float) -> None:
    num, channels, inner = extent
    workspace = np.empty(channels * shares_of(channels, num * inner), np.float32)
    check_bodies(prelu_backward_weights, data, diff, *extent, workspace, per_channel(channels, 2), atol=atol)


@pytest.mark.parametrize("extent", [(3, 1, 9001), (9001, 2, 3)])
def test_prelu_weights_of_long_channels(extent: tuple[int, int, int]) -> None:
    check_prelu_weights(noise(*extent), noise(*extent)[::-1].copy(), extent, 1e-3)
