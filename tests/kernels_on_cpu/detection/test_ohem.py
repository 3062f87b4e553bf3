"""Losses of each region."""

import numpy as np
import pytest

from caffepy.layers.basis.labels import LabelRule
from caffepy.layers.detection.ohem import smooth_l1_loss_each, softmax_loss_each
from tests.gpu_mode import check_bodies, noise

pytestmark = pytest.mark.usefixtures("gpu")


def test_losses_of_each() -> None:
    prob, labels = np.abs(noise(3, 4, 5)), np.float32([[0, 1, 2, 3, 4], [-1, 0, 2, np.nan, 1], [3, 3, 3, 3, 3]])
    rule = LabelRule(True, 2, 1)
    check_bodies(softmax_loss_each, prob, labels, 3, 4, 5, noise(3, 5), rule=rule)
    for weights in (None, noise(3, 4, 5)):
        check_bodies(smooth_l1_loss_each, noise(3, 4, 5), prob, weights, 3, 4, 5, noise(3, 5))
