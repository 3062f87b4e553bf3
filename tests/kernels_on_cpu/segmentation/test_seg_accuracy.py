"""SegAccuracy's operations."""

import numpy as np
import pytest

from caffepy.layers.segmentation.seg_accuracy import seg_accuracy_count, seg_accuracy_forward
from tests.gpu_mode import check_bodies, noise

pytestmark = pytest.mark.usefixtures("gpu")


@pytest.mark.parametrize("bad", [False, True])
@pytest.mark.parametrize("reset", [0, 1])
def test_seg_accuracy(reset: int, bad: bool) -> None:
    scores = noise(2, 6, 300).round(1)  # ties
    scores[0, 2, 5] = np.nan
    labels = np.random.default_rng(0).choice(np.float32([0, 1, 2, 3, 5, 255, -1.5]), (2, 300))
    if bad:
        labels[1, 7], labels[1, 250] = 6, np.nan
    ignored, confusion, first = np.int32([255, -1]), np.full((6, 6), 3, np.int32), np.int32([0])
    check_bodies(seg_accuracy_count, scores, labels, ignored, 6, 300, 2, reset, confusion, first, rtol=0, atol=0)
    seg_accuracy_count.twin(scores, labels, ignored, 6, 300, 2, reset, confusion, first)
    assert first[0] == (307 if bad else -1)
    check_bodies(seg_accuracy_forward, confusion, labels, first, 6, noise(1), noise(1, 1, 1, 3))
