"""Upsample and Unpooling: values put where a pooling's mask says, or repeated."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.runner import build, check_gradient, check_manners, fill


def unpooled(values, mask, height, width):
    top = np.zeros((*values.shape[:2], height * width), np.float32)
    for n, c, h, w in np.ndindex(values.shape):
        top[n, c, int(mask[n, c, h, w])] = values[n, c, h, w]
    return top.reshape(*values.shape[:2], height, width)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ('type: "Upsample"', (6, 4)),
        ('type: "Upsample" upsample_param { scale: 2 pad_out_h: true pad_out_w: true }', (5, 3)),
        ('type: "Upsample" upsample_param { scale_h: 3 scale_w: 1 }', (9, 2)),
        ('type: "Upsample" upsample_param { scale: 2 upsample_h: 7 upsample_w: 5 }', (7, 5)),
        ('type: "Unpooling" unpooling_param { kernel_size: 2 stride: 2 unpool_size: 5 }', (5, 5)),
        ('type: "Unpooling" unpooling_param { kernel_size: 3 stride: 2 pad_w: 1 }', (7, 3)),
    ],
)
def test_by_masks(text, size):
    shape = (2, 3, 3, 2)
    case = build(text, [shape, shape])
    rng = np.random.default_rng(0)
    values = rng.standard_normal(shape)
    mask = np.array([rng.choice(size[0] * size[1], 6, replace=False) for _ in range(6)]).reshape(shape)
    case.bottom[0].data[...], case.bottom[1].data[...] = values, mask
    np.testing.assert_array_equal(case.forward()[0], unpooled(case.bottom[0].data, mask, *size))
    check_gradient(case, 0, rng)
    check_manners(case, rng)


def test_of_two_values_for_one_place_the_last_counts():
    case = build('type: "Upsample"', [(1, 1, 1, 3)] * 2)
    case.bottom[0].data[...], case.bottom[1].data[...] = [[[[1, 2, 3]]]], [[[[4, 7, 4]]]]
    assert case.forward()[0].ravel().tolist() == [0, 0, 0, 0, 3, 0, 0, 2, 0, 0, 0, 0]
    case.top[0].diff[...] = np.arange(12).reshape(1, 1, 2, 6)
    assert case.backward()[0].ravel().tolist() == [0, 7, 4]


@pytest.mark.parametrize("bad", [-1, 24, np.nan])
def test_a_mask_outside_is_told_and_moves_nothing(bad):
    case = build('type: "Upsample"', [(1, 1, 2, 3)] * 2)
    case.bottom[1].data[...] = [[[[0, 1, 2], [3, bad, 5]]]]
    with pytest.raises(LayerError, match=rf"place {bad:g} at \(0, 0, 1, 1\) of bottom 'bottom1' is not one of the 24"):
        case.forward()
    case.top[0].diff[...] = 1
    assert case.backward()[0].ravel().tolist() == [1, 1, 1, 1, 0, 1]


@pytest.mark.parametrize("param", ["scale: 3", "stride: 3"])
def test_by_repetition(param):
    case = build(f'type: "Upsample" upsample_param {{ {param} }}', [(2, 2, 2, 3)])
    rng = np.random.default_rng(0)
    fill(case, rng)
    np.testing.assert_array_equal(case.forward()[0], case.bottom[0].data.repeat(3, 2).repeat(3, 3))
    check_gradient(case, 0, rng)
    check_manners(case, rng)


@pytest.mark.parametrize(
    ("text", "shapes", "says"),
    [
        ('type: "Upsample"', [(1, 1, 2, 2)], "give scale, or a pooling's mask as second bottom"),
        ('type: "Upsample"', [(1, 1, 2, 2), (1, 1, 2, 3)], r"the mask has shape \(1, 1, 2, 3\), the values"),
        ('type: "Unpooling" unpooling_param { unpool: AVE }', [(1, 1, 2, 2)] * 2, "unpool: AVE is not known; give MAX"),
        ('type: "Unpooling" unpooling_param { stride: 1 pad: 1 }', [(1, 1, 2, 2)] * 2, "the top would be -1 x -1"),
    ],
)
def test_errors(text, shapes, says):
    with pytest.raises(LayerError, match=says):
        build(text, shapes)
