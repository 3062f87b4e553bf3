"""YoloSeg's operations."""

import numpy as np
import pytest

from caffepy.layers.segmentation.yolo_seg import yolo_seg_backward, yolo_seg_forward, yolo_seg_scales
from tests.gpu_mode import check_bodies, noise

pytestmark = pytest.mark.usefixtures("gpu")


def test_yolo_seg() -> None:
    extent, parts = (3, 5, 120), np.zeros(4, np.float32)
    x, label, scales = noise(*extent), np.abs(noise(*extent)), np.zeros(5, np.float32)
    places = np.float32(np.arange(15).reshape(3, 5))
    check_bodies(yolo_seg_scales, places, *extent, 0.3, scales)
    yolo_seg_scales.twin(places, *extent, 0.3, scales)
    for given in (None, scales):
        check_bodies(yolo_seg_forward, x, label, given, *extent, 0.3, parts, rtol=1e-4)
        check_bodies(yolo_seg_backward, x, label, given, *extent, 0.3, noise(1), noise(*extent), atol=1e-6)
