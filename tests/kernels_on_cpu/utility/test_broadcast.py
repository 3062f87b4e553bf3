"""Mul's and Add's operations."""

import pytest

from caffepy.layers.utility.broadcast import broadcast_backward, broadcast_forward
from tests.gpu_mode import check_bodies, noise, whole

pytestmark = pytest.mark.usefixtures("gpu")


@pytest.mark.parametrize("multiply", [False, True])
def test_broadcast(multiply: bool) -> None:
    layout = whole(1, 2, 3, 4, 5, 6, 24, 12, 0, 6, 0, 1, 360, 0, 20, 5, 1, 0)
    first, second, top = noise(2, 4, 6), noise(3, 4, 5), noise(2, 3, 4, 5, 6)
    check_bodies(broadcast_forward, first, second, layout, top, rtol=0, atol=0, multiply=multiply)
    other = second if multiply else None
    check_bodies(broadcast_backward, top, other, layout, first, atol=1e-5)
