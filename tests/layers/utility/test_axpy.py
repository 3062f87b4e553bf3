"""Axpy against its formula."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.runner import build, check_gradient, check_manners, fill


@pytest.mark.parametrize("scale", [(2, 3), (2, 3, 1, 1)])
def test_axpy(scale):
    case = build('type: "Axpy"', [scale, (2, 3, 4, 5), (2, 3, 4, 5)])
    rng = np.random.default_rng(0)
    fill(case, rng)
    a, x, y = (blob.data for blob in case.bottom)
    np.testing.assert_allclose(case.forward()[0], a.reshape(2, 3, 1, 1) * x + y, 1e-6, 1e-6)
    for bottom in range(3):
        check_gradient(case, bottom, rng)
    check_manners(case, rng)


@pytest.mark.parametrize(
    ("text", "shapes", "says"),
    [
        ('type: "Axpy"', [(2, 3), (2, 3, 4), (2, 3, 5)], "bottoms 1 and 2 must have one shape"),
        ('type: "Axpy"', [(2, 4), (2, 3, 4), (2, 3, 4)], r"bottom 0 has shape \(2, 4\); give one value for each"),
    ],
)
def test_errors(text, shapes, says):
    with pytest.raises(LayerError, match=says):
        build(text, shapes)
