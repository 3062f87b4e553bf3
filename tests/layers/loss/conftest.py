"""What the tests of losses share."""

import numpy as np
import pytest


@pytest.fixture
def rng():
    return np.random.default_rng(7)
