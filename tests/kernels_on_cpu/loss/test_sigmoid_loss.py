"""SigmoidLoss's operation."""

import numpy as np
import pytest

from caffepy.layers.loss.sigmoid_loss import sigmoid_loss_targets
from tests.gpu_mode import check_bodies, noise

pytestmark = pytest.mark.usefixtures("gpu")


def test_sigmoid_loss_targets() -> None:
    labels = np.float32([0, 0.5, 1, 1.5, 2, -1, np.nan, 1, 1])
    check_bodies(sigmoid_loss_targets, labels, noise(9), rtol=0, atol=0)
