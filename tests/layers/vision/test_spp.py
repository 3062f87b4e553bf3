"""SPP against windows walked pixel by pixel."""

import math

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.runner import build, check_gradient, check_manners


def window(extent, bins, i):
    """The pixels that window i of so many sees, and its length with the padding that counts."""
    kernel = math.ceil(extent / bins)
    pad = (kernel * bins - extent + 1) // 2
    start, end = i * kernel - pad, min((i + 1) * kernel - pad, extent + pad)
    return [p for p in range(start, end) if 0 <= p < extent], end - start


def pyramid(image, levels, pool):
    """Of one image (c, h, w)."""
    values = []
    for level in range(levels):
        bins = 2**level
        for c, ph, pw in np.ndindex(len(image), bins, bins):
            (rows, tall), (columns, wide) = window(image.shape[1], bins, ph), window(image.shape[2], bins, pw)
            seen = [image[c, h, w] for h in rows for w in columns]
            values.append(max(seen) if pool == "MAX" else sum(seen) / (tall * wide))
    return values


@pytest.mark.parametrize("pool", ["MAX", "AVE"])
@pytest.mark.parametrize(
    ("shape", "levels"),
    [((2, 3, 9, 8), 3), ((1, 2, 7, 12), 2), ((2, 1, 15, 22), 4), ((2, 3, 5, 4), 1), ((1, 1, 1, 1), 1)],
)
def test_pyramid(shape, levels, pool):
    rng = np.random.default_rng(1)
    case = build(f'type: "SPP" spp_param {{ pyramid_height: {levels} pool: {pool} }}', [shape])
    case.bottom[0].data[...] = rng.permutation(math.prod(shape)).reshape(shape) / 20
    top = case.forward()[0].reshape(shape[0], -1)
    np.testing.assert_allclose(top, [pyramid(image, levels, pool) for image in case.bottom[0].data], 1e-5, 1e-6)
    check_gradient(case, 0, rng)
    check_manners(case, rng)


def test_nothing_above_the_lowest_float_gives_that_and_no_gradient():
    case = build('type: "SPP" spp_param { pyramid_height: 1 }', [(1, 3, 2, 2)])
    case.bottom[0].data[...] = np.array([-np.inf, np.nan, np.nan]).reshape(1, 3, 1, 1)
    case.bottom[0].data[0, 2, 1, 1] = 5
    assert case.forward()[0].reshape(-1).tolist() == [np.finfo(np.float32).min] * 2 + [5]
    case.top[0].diff[...] = 7
    assert case.backward()[0].reshape(-1).tolist() == [0] * 11 + [7]


def test_the_first_of_equals_takes_the_gradient():
    case = build('type: "SPP" spp_param { pyramid_height: 2 }', [(1, 1, 4, 4)])
    case.bottom[0].data[...] = 3
    case.forward()
    case.top[0].diff[...] = [[16, 1, 2, 4, 8]]
    assert case.backward()[0].tolist() == [[[[17, 0, 2, 0], [0, 0, 0, 0], [4, 0, 8, 0], [0, 0, 0, 0]]]]


@pytest.mark.parametrize(
    ("text", "shape", "message"),
    [
        ("", (1, 1, 4, 4), "give spp_param pyramid_height of 1 to 10, got 0"),
        ("pyramid_height: 11", (1, 1, 4, 4), "got 11"),
        ("pyramid_height: 2 pool: STOCHASTIC", (1, 1, 4, 4), "use MAX or AVE"),
        ("pyramid_height: 4", (1, 1, 32, 9), "level 3 cannot cut 9 pixels .* into 8 windows; lower pyramid_height 4"),
        ("pyramid_height: 1", (1, 4, 4), r"must have 4 axes, got shape \(1, 4, 4\)"),
        ("pyramid_height: 1", (1, 1, 0, 4), "level 0 cannot cut 0 pixels"),
    ],
)
def test_messages(text, shape, message):
    with pytest.raises(LayerError, match=message):
        build(f'type: "SPP" spp_param {{ {text} }}', [shape])
