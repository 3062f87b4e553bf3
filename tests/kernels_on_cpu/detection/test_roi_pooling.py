"""ROIPooling's and PSROIPooling's operations."""

import numpy as np
import pytest

from caffepy.layers.detection.roi_pooling import (
    psroi_pool_backward,
    psroi_pool_forward,
    roi_check,
    roi_pool_backward,
    roi_pool_forward,
)
from tests.gpu_mode import check_bodies, noise, whole

pytestmark = pytest.mark.usefixtures("gpu")


REGIONS = np.float32(
    [[0, 0, 0, 31, 23], [1, 8.5, 4, 20, 12], [1, 5, 5, 5, 5], [2, 0, 0, 9, 9], [0, -10, 3, 12, 60], [0, 90, 90, 99, 99]]
)


def test_roi_pooling() -> None:
    check_bodies(roi_check, REGIONS, 6, 2, whole(7), noise(1))
    check_bodies(roi_check, REGIONS[:3], 3, 2, whole(7), noise(1))
    x, top, mask = noise(2, 3, 6, 8), noise(6, 3, 3, 2), np.zeros((6, 3, 3, 2), np.int32)
    sizes = 2, 3, 6, 8, 3, 2
    check_bodies(roi_pool_forward, x, REGIONS, *sizes, 0.25, mask, top, rtol=0, atol=0)
    roi_pool_forward.twin(x, REGIONS, *sizes, 0.25, mask, top)
    check_bodies(roi_pool_backward, noise(6, 3, 3, 2), REGIONS, mask, *sizes, 6, 0.25, noise(2, 3, 6, 8))


def test_psroi_pooling() -> None:
    x, top = noise(2, 18, 6, 8), noise(6, 2, 3, 3)
    check_bodies(psroi_pool_forward, x, REGIONS, 2, 2, 3, 6, 8, 0.25, top)
    check_bodies(psroi_pool_backward, noise(6, 2, 3, 3), REGIONS, 2, 2, 3, 6, 8, 6, 0.25, x)
