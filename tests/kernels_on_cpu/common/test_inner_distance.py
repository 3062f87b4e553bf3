"""InnerDistance's operations."""

import pytest

from caffepy.layers.common.inner_distance import (
    inner_distance_backward,
    inner_distance_backward_weights,
    inner_distance_forward,
)
from tests.gpu_mode import check_bodies, noise

pytestmark = pytest.mark.usefixtures("gpu")


@pytest.mark.parametrize("l1", [False, True])
def test_inner_distance(l1: bool) -> None:
    x, weight, dy = noise(5, 70), 1 + noise(6, 70), noise(5, 6)
    check_bodies(inner_distance_forward, x, weight, noise(6), 6, 70, dy.copy(), l1=l1)
    check_bodies(inner_distance_backward, x, weight, dy, 6, 70, noise(5, 70), atol=1e-5, l1=l1)
    check_bodies(inner_distance_backward_weights, x, weight, dy, 5, 6, 70, noise(6, 70), atol=1e-5, l1=l1)
