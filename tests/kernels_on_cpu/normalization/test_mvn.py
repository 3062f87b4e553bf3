"""MVN's operation."""

import numpy as np
import pytest

from caffepy.layers.normalization.mvn import mvn_spread
from tests.gpu_mode import check_bodies

pytestmark = pytest.mark.usefixtures("gpu")


def per_channel(channels: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.5, 2, channels).astype(np.float32)


def test_mvn_spread() -> None:
    check_bodies(mvn_spread, per_channel(300, 0), np.full(300, np.nan, np.float32), eps=0.5)
