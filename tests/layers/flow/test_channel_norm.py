"""ChannelNorm against NumPy's lengths."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.runner import build, check_gradient, check_manners, fill


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (4, 3)])
def test_channel_norm(shape):
    case = build('type: "ChannelNorm"', [shape])
    rng = np.random.default_rng(0)
    fill(case, rng)
    (top,) = case.forward()
    np.testing.assert_allclose(top, np.linalg.norm(case.bottom[0].data, axis=1, keepdims=True), 1e-5)
    check_gradient(case, 0, rng)
    check_manners(case, rng)


def test_channel_norm_of_zeros_and_of_too_few_axes():
    case = build('type: "ChannelNorm"', [(2, 3)])
    case.forward()
    case.top[0].diff[...] = 1
    assert not case.backward()[0].any()
    with pytest.raises(LayerError, match=r"must have 2 axes at least, got shape \(3,\)"):
        build('type: "ChannelNorm"', [(3,)])
