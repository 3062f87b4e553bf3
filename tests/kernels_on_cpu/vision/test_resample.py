"""Resample's operation."""

import numpy as np
import pytest

from caffepy.layers.vision.resample import resample_axis
from tests.gpu_mode import check_bodies, noise

pytestmark = pytest.mark.usefixtures("gpu")


@pytest.mark.parametrize("inner", [1, 7])
def test_resample(inner: int) -> None:
    starts = np.int32([0, 1, 3, 3, 5])
    check_bodies(resample_axis, noise(3, 8, inner), starts, noise(5, 3), 8, 5, 3, inner, noise(3, 5, inner))
