"""Values moved, and parts cut out."""

import numpy as np
import pytest

from caffepy.layers.utility.rearrange import Move, layout, rearrange_forward
from tests.gpu_mode import check_bodies, noise

pytestmark = pytest.mark.usefixtures("gpu")


@pytest.mark.parametrize(
    "move", [Move((2, 3, 5, 7, 2, 2), (5, 3, 1, 0, 2, 4), (0, 3)), Move((300,), (0,), (0,)), Move((1, 4), (1, 0))]
)
def test_rearrange(move: Move) -> None:
    for numbers in move.layouts():
        source = noise(*move.extents)
        check_bodies(rearrange_forward, source, np.array(numbers, np.int32), np.empty_like(source), rtol=0, atol=0)


def test_a_part() -> None:
    part = np.array(layout((2, 2, 3), (20, 5, 1), start=6), np.int32)
    check_bodies(rearrange_forward, noise(2, 4, 5), part, noise(2, 2, 3), rtol=0, atol=0)
