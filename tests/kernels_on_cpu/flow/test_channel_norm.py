"""ChannelNorm's operations."""

import numpy as np
import pytest

from caffepy.layers.flow.channel_norm import channel_norm_backward, channel_norm_forward
from tests.gpu_mode import check_bodies, noise

pytestmark = pytest.mark.usefixtures("gpu")


def test_channel_norm() -> None:
    x, norm = noise(2, 5, 33), np.abs(noise(2, 33))
    check_bodies(channel_norm_forward, x, 5, 33, norm)
    norm[0, :3] = 0
    check_bodies(channel_norm_backward, x, norm, noise(2, 33), 5, 33, noise(2, 5, 33))
