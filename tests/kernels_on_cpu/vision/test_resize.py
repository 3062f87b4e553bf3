"""Images resized."""

import numpy as np
import pytest

from caffepy.layers.vision.resize import bilinear_backward, bilinear_forward, nearest_backward, nearest_forward
from tests.gpu_mode import check_bodies, noise

pytestmark = pytest.mark.usefixtures("gpu")


def test_nearest() -> None:
    rows, columns = np.array([0, 0, 2, 3], np.int32), np.array([1, 1, 1], np.int32)
    check_bodies(nearest_forward, noise(2, 4, 3, 2), 4, 3, 2, 4, 3, rows, columns, noise(2, 4, 3, 2), rtol=0, atol=0)
    first_rows, first_columns = np.array([0, 2, 2, 3, 4], np.int32), np.array([0, 0, 3, 3], np.int32)
    check_bodies(nearest_backward, noise(2, 4, 3, 2), 4, 3, 2, 4, 3, first_rows, first_columns, noise(2, 4, 3, 2))


@pytest.mark.parametrize("inner", [1, 3])
@pytest.mark.parametrize(
    ("size", "lines"),
    [((9, 4), (0.5, 0.0, 4 / 3, 0.0)), ((2, 11), (2.5, 0.75, 5 / 11, -3 / 11)), ((1, 1), (0.0, 0.0, 0.0, 0.0))],
)
def test_bilinear(size: tuple[int, int], lines: tuple[float, ...], inner: int) -> None:
    bottom, top = noise(2, 5, 5, inner), noise(2, *size, inner)
    check_bodies(bilinear_forward, bottom, 5, 5, inner, *size, *lines, top, atol=1e-5)
    check_bodies(bilinear_backward, top, 5, 5, inner, *size, *lines, bottom, atol=1e-5)
