"""FlowWarp's operations."""

import numpy as np
import pytest

from caffepy.layers.flow.flow_warp import flow_warp_backward_flow, flow_warp_backward_image, flow_warp_forward
from tests.gpu_mode import check_bodies, noise

pytestmark = pytest.mark.usefixtures("gpu")


@pytest.mark.parametrize("scale", [0.0, 2.0, 1e10])
def test_flow_warp(scale: float) -> None:
    """Scale 0: every position sees itself; also, all of an item see the same place."""
    image, flow, diff = noise(3, 2, 9, 11), scale * noise(3, 2, 9, 11), noise(3, 2, 9, 11)
    flow[1, 0], flow[1, 1] = 4.25 - np.arange(11), 5.5 - np.arange(9)[:, None]
    flow[2, 0, 0, 0] = np.nan
    sizes = 2, 9, 11
    for outside in (0.0, float("nan")):
        check_bodies(flow_warp_forward, image, flow, *sizes, outside, noise(3, 2, 9, 11), atol=1e-5)
    chains = np.zeros((2, 3, 9, 11), np.int32)
    check_bodies(flow_warp_backward_image, diff, flow, *sizes, chains, noise(3, 2, 9, 11), atol=1e-5)
    check_bodies(flow_warp_backward_flow, image, flow, diff, *sizes, noise(3, 2, 9, 11), atol=1e-5)
