"""SPP's operations, which gather windows."""

import numpy as np
import pytest

from caffepy.layers.vision.spp import spp_backward, spp_forward
from caffepy.proto.caffe_pb2 import SPPParameter
from tests.gpu_mode import check_bodies, noise


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("pool", [SPPParameter.MAX, SPPParameter.AVE])
@pytest.mark.parametrize(
    ("shape", "levels"), [((2, 3, 9, 8), 3), ((1, 2, 37, 41), 1), ((1, 1, 15, 22), 4), ((3, 1, 1, 1), 1)]
)
def test_spp(shape: tuple[int, int, int, int], levels: int, pool: int) -> None:
    data = noise(*shape).round(1)  # ties
    data[0, 0] = np.nan if pool == SPPParameter.MAX else 3
    features = shape[1] * sum(4**level for level in range(levels))
    top, mask = noise(shape[0], features), None
    if pool == SPPParameter.MAX:
        mask = np.full(top.shape, -5, np.int32)
    check_bodies(spp_forward, data, *shape[1:], levels, mask, np.full_like(top, np.nan), pool=pool)
    spp_forward(data, *shape[1:], levels, mask, top, pool=pool)
    diff = noise(*top.shape)
    check_bodies(spp_backward, diff, mask, *shape[1:], levels, np.full_like(data, np.nan), pool=pool)
