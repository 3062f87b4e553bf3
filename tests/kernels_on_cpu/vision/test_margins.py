"""Values put into margins."""

import numpy as np
import pytest

from caffepy.layers.vision.margins import embed_forward
from tests.gpu_mode import check_bodies, noise

pytestmark = pytest.mark.usefixtures("gpu")


def test_embed() -> None:
    box = np.array([1, 1, 3, 2, 4, 5, 1, 1, 1, 2, 2, 3, 0, 0, 2, 0, 1, 0], np.int32)
    check_bodies(embed_forward, noise(1, 2, 2, 3), box, -2.5, noise(3, 2, 4, 5), rtol=0, atol=0)
