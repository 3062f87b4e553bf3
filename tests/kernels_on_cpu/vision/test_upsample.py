"""Unpooling's operations."""

import numpy as np
import pytest

from caffepy.layers.vision.upsample import unpool_backward, unpool_claim, unpool_clear, unpool_forward
from tests.gpu_mode import check_bodies, noise

pytestmark = pytest.mark.usefixtures("gpu")


def test_unpool() -> None:
    mask = np.float32([[0, 3, 3, 7], [5, -1, 8, np.nan], [2, 2, 2, 2]])
    owner = np.full((3, 8), 5, np.int32)
    check_bodies(unpool_clear, owner)
    owner[...] = -1
    check_bodies(unpool_claim, mask, 4, 8, owner)
    unpool_claim.twin(mask, 4, 8, owner)
    check_bodies(unpool_forward, noise(3, 4), owner, noise(3, 8), rtol=0, atol=0)
    check_bodies(unpool_backward, noise(3, 8), mask, 4, 8, owner, noise(3, 4), rtol=0, atol=0)
