"""Reshape and Flatten: the shapes they give, and that the memory is one."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.runner import build


def reshape(text, bottom):
    return build(f'type: "Reshape" reshape_param {{ {text} }}', [bottom])


def flatten(text, bottom):
    return build(f'type: "Flatten" flatten_param {{ {text} }}', [bottom])


def dims(*values):
    return "shape { " + " ".join(f"dim: {v}" for v in values) + " } "


@pytest.mark.parametrize(
    ("make", "text", "bottom", "top"),
    [
        # the examples of caffe.proto's ReshapeParameter: bottom (2, 8)
        (reshape, dims(2, 2, 4), (2, 8), (2, 2, 4)),
        (reshape, dims(0, 2, 4), (2, 8), (2, 2, 4)),
        (reshape, dims(0, 2, -1), (2, 8), (2, 2, 4)),
        (reshape, dims(0, -1, 4), (2, 8), (2, 2, 4)),
        (reshape, dims(2, 4) + "axis: 1", (2, 8), (2, 2, 4)),
        (reshape, dims(-1), (2, 3, 4), (24,)),
        (reshape, dims(2, 2) + "axis: 1 num_axes: 1", (3, 4, 5), (3, 2, 2, 5)),
        (reshape, dims(1) + "axis: 1 num_axes: 0", (3, 4), (3, 1, 4)),
        (reshape, dims(1) + "axis: -1 num_axes: 0", (3, 4), (3, 4, 1)),
        (reshape, "axis: 1 num_axes: 0", (3, 4), (3, 4)),
        (reshape, dims(0, 0, -1), (2, 3, 4, 5), (2, 3, 20)),
        (reshape, dims(-1, 0) + "axis: 0 num_axes: 1", (12, 3, 2), (4, 3, 3, 2)),
        (reshape, "", (1, 1), ()),
        (flatten, "", (2, 3, 4, 5), (2, 60)),
        (flatten, "axis: 0", (2, 3, 4), (24,)),
        (flatten, "axis: 1 end_axis: 2", (2, 3, 4, 5), (2, 12, 5)),
        (flatten, "axis: -2 end_axis: -1", (2, 3, 4, 5), (2, 3, 20)),
        (flatten, "axis: 2 end_axis: 2", (2, 3, 4), (2, 3, 4)),
    ],
)
def test_shapes(make, text, bottom, top):
    case = make(text, bottom)
    assert case.top[0].shape == top
    case.bottom[0].data[...] = np.arange(case.bottom[0].count).reshape(bottom)
    np.testing.assert_array_equal(case.forward()[0].reshape(-1), np.arange(case.bottom[0].count))
    case.top[0].diff[...] = 3
    assert (case.backward()[0] == 3).all()


def test_a_copied_dim_follows_the_bottom():
    case = reshape(dims(0, -1), (2, 3, 4))
    case.reshape((5, 3, 4))
    assert case.top[0].shape == (5, 12)


@pytest.mark.parametrize(
    ("make", "text", "bottom", "message"),
    [
        (reshape, dims(-1, -1), (2, 3), r"\[-1, -1\]: dims are 0 \(copy\), -1 \(what is left, once at most\)"),
        (reshape, dims(-2), (2, 3), "dims are 0"),
        (reshape, dims(5), (2, 3), r"\[5\] holds 5 values, but it replaces 6 of bottom shape \(2, 3\)"),
        (reshape, dims(4, -1), (2, 3), "no whole number for -1"),
        (reshape, dims(0, -1), (0, 3), "no whole number for -1"),
        (reshape, dims(2, 3, 0), (2, 3), "dim 2 is 0 .copy., but bottom shape .* has no axis 2"),
        (reshape, dims(2) + "axis: 3", (2, 3), "axis: 3 is outside bottom shape .* give -3 to 2"),
        (reshape, dims(2) + "axis: -4", (2, 3), "axis: -4 is outside"),
        (reshape, dims(2) + "axis: 1 num_axes: 2", (2, 3), "num_axes: 2 from axis 1 on .* give 0 to 1, or -1"),
        (reshape, dims(2) + "num_axes: -2", (2, 3), "num_axes: -2"),
        (flatten, "axis: 4", (2, 3), r"axis: 4 is outside bottom 0, whose shape is \(2, 3\)"),
        (flatten, "end_axis: 4", (2, 3), "end_axis: 4 is outside"),
        (flatten, "axis: 2 end_axis: 1", (2, 3, 4), "end_axis 1 lies before axis 2"),
    ],
)
def test_errors(make, text, bottom, message):
    with pytest.raises(LayerError, match=message):
        make(text, bottom)
