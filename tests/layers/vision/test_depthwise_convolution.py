"""DepthwiseConvolution and ConvolutionDepthwise are Convolution with a group for each channel."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.runner import build, check_gradient, fill

PARAM = "convolution_param {{ num_output: 6 kernel_size: 3 pad: 1 stride: 2 {} weight_filler {{ type: 'xavier' }} }}"


@pytest.mark.parametrize("group", ["", "group: 3"])
@pytest.mark.parametrize("kind", ["DepthwiseConvolution", "ConvolutionDepthwise"])
def test_it_is_a_convolution(kind, group):
    case = build(f'type: "{kind}" {PARAM.format(group)}', [(2, 3, 5, 6)])
    plain = build(f'type: "Convolution" {PARAM.format("group: 3")}', [(2, 3, 5, 6)])
    rng = np.random.default_rng(0)
    fill(case, rng)
    assert [blob.shape for blob in case.weights] == [(6, 1, 3, 3), (6,)]
    for mine, other in zip([*case.bottom, *case.weights], [*plain.bottom, *plain.weights], strict=True):
        other.data[...] = mine.data
    np.testing.assert_array_equal(case.forward()[0], plain.forward()[0])
    check_gradient(case, 0, rng)
    check_gradient(case, ("param", 0), rng)


def test_another_group():
    with pytest.raises(LayerError, match=r"group: 2 must be the number of channels, 4; leave it out"):
        build(f'type: "DepthwiseConvolution" {PARAM.format("group: 2")}', [(1, 4, 5, 5)])
