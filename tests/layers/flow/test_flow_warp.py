"""FlowWarp against its definition, pixel by pixel."""

import math

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.gpu_mode import SCHEDULES, running
from tests.layers.runner import build, check_gradient, check_manners, fill
from tests.nets import make


def warped(image, flow, outside):
    """The definition for one item."""
    _, h, w = image.shape
    top = np.full(image.shape, float(outside))
    for y, x in np.ndindex(h, w):
        to_x, to_y = x + flow[0, y, x], y + flow[1, y, x]
        if 0 <= to_x < w and 0 <= to_y < h:
            left, up = math.floor(to_x), math.floor(to_y)
            a, b = to_x - left, to_y - up
            right, low = min(left + 1, w - 1), min(up + 1, h - 1)
            above = (1 - a) * image[:, up, left] + a * image[:, up, right]
            below = (1 - a) * image[:, low, left] + a * image[:, low, right]
            top[:, y, x] = (1 - b) * above + b * below
    return top


@pytest.mark.parametrize(("fill_value", "outside"), [("ZERO", 0), ("NOT_A_NUMBER", np.nan)])
def test_flow_warp(fill_value, outside):
    case = build(f'type: "FlowWarp" flow_warp_param {{ fill_value: {fill_value} }}', [(2, 3, 5, 6), (2, 2, 5, 6)])
    rng = np.random.default_rng(0)
    fill(case, rng)
    # whole pixels, and a part of one that no step of the gradient check leaves
    flow = rng.integers(-3, 4, (2, 2, 5, 6)) + rng.uniform(0.1, 0.9, (2, 2, 5, 6))
    case.bottom[1].data[...] = flow
    (top,) = case.forward()
    image, flow = (blob.data.astype(np.float64) for blob in case.bottom)
    expected = [warped(i, f, outside) for i, f in zip(image, flow, strict=True)]
    assert np.isnan(top).any() == np.isnan(outside)
    np.testing.assert_allclose(top, expected, 1e-4, 1e-5)
    if not np.isnan(outside):
        check_gradient(case, 0, rng)
        check_gradient(case, 1, rng)
        check_manners(case, rng)


def test_flow_warp_nowhere():
    case = build('type: "FlowWarp"', [(1, 1, 2, 2), (1, 2, 2, 2)])
    case.bottom[0].data[...] = 1
    case.bottom[1].data[...] = [[[[np.nan, np.inf], [-np.inf, 0]], [[0, 0], [0, 0]]]]
    assert case.forward()[0].tolist() == [[[[0, 0], [0, 1]]]]
    case.top[0].diff[...] = 1
    image, flow = case.backward()
    assert image.tolist() == [[[[0, 0], [0, 1]]]]
    assert not flow.any()


def test_flow_warp_adds_in_the_same_order_whoever_is_first():
    rng = np.random.default_rng(0)
    image, flow, diff = (rng.standard_normal(shape) for shape in ((1, 1, 9, 9), (1, 2, 9, 9), (1, 1, 9, 9)))
    flow[0, 0], flow[0, 1] = 4.3 - np.arange(9), 5.6 - np.arange(9)[:, None]  # all of them see the same place

    def image_diff(schedule):
        with running(f"gpu-{schedule}"):
            inputs = [
                f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ dim: {shape} }} }} }}'
                for name, shape in (("image", [1, 1, 9, 9]), ("flow", [1, 2, 9, 9]))
            ]
            layer = 'layer { name: "warp" type: "FlowWarp" bottom: "image" bottom: "flow" top: "top" }'
            net = make(f"force_backward: true {' '.join(inputs)} {layer}")
            net.forward(image=image, flow=flow)
            return net.backward(top=diff)["image"].copy()

    first, *others = map(image_diff, SCHEDULES)
    assert np.count_nonzero(first) == 4
    assert all(np.array_equal(first, other) for other in others)


def test_flow_warp_says():
    with pytest.raises(LayerError, match=r"'bottom1', the flow, has shape \(1, 3, 4, 5\); .* must be \(1, 2, 4, 5\)"):
        build('type: "FlowWarp"', [(1, 3, 4, 5)] * 2)
