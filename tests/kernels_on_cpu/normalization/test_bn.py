"""BN's operation."""

import pytest

from caffepy.layers.normalization.bn import bn_gather
from tests.gpu_mode import check_bodies, noise

pytestmark = pytest.mark.usefixtures("gpu")


def test_bn() -> None:
    check_bodies(bn_gather, noise(5), 1 + noise(5), 0.75, 2 + noise(5), 3 + noise(5))
