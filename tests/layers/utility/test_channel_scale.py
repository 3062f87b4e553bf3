"""ChannelScale against its formula."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.runner import build, check_gradient, check_manners, fill


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (3, 4), (2, 1, 3)])
@pytest.mark.parametrize("kind", ["ChannelScale", "MaskPooling"])
def test_channel_scale(shape, kind):
    case = build(f'type: "{kind}"', [shape, (shape[0], 1, *shape[2:])])
    rng = np.random.default_rng(0)
    fill(case, rng)
    x, scale = (blob.data.copy() for blob in case.bottom)
    np.testing.assert_array_equal(case.forward()[0], x * scale)
    for index in (0, 1):
        check_gradient(case, index, rng)
    check_manners(case, rng)


def test_channel_scale_undoes_normalize():
    case = build('type: "ChannelScale"', [(2, 3, 2), (2, 2)])  # as many scales in another shape
    case.bottom[0].data[...] = [[[0.6, 1], [0, 0], [0.8, 0]]] * 2
    case.bottom[1].data[...] = [[5, 2], [1, 0]]
    (top,) = case.forward()
    np.testing.assert_allclose(top, [[[3, 2], [0, 0], [4, 0]], [[0.6, 0], [0, 0], [0.8, 0]]], 1e-6)


@pytest.mark.parametrize("scale", [(2, 3), (6,), (3, 1, 2), (2, 3, 1)])
def test_scales_that_do_not_fit(scale):
    with pytest.raises(LayerError, match=r"'bottom1' has shape .*; give one scale for each item and place of bottom"):
        build('type: "ChannelScale"', [(2, 3, 2), scale])
