"""Im2col against the definition, pixel by pixel."""

import itertools

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.runner import build, check_gradient, check_manners, fill

WINDOWS = {  # text -> bottom shape, axis; kernel, stride, pad, dilation for each axis behind it
    "kernel_size: 3 stride: 2 pad: 1": ((2, 3, 6, 5), 1, [(3, 2, 1, 1)] * 2),
    "kernel_h: 1 kernel_w: 4 pad_h: 2 pad_w: 0": ((1, 2, 3, 7), 1, [(1, 1, 2, 1), (4, 1, 0, 1)]),
    "kernel_size: 2 stride: 3 dilation: 2": ((2, 1, 8, 9), 1, [(2, 3, 0, 2)] * 2),
    "kernel_size: 3 pad: 2": ((2, 3, 4), 1, [(3, 1, 2, 1)]),
    "kernel_size: 2 kernel_size: 1 kernel_size: 3 pad: 1": (
        (1, 2, 3, 2, 4),
        1,
        [(2, 1, 1, 1), (1, 1, 1, 1), (3, 1, 1, 1)],
    ),
    "kernel_size: 2 axis: 2": ((2, 3, 2, 5), 2, [(2, 1, 0, 1)]),
    "axis: -1": ((4, 3), 1, []),
}


def columns(bottom, axis, window):
    """bottom (..., c, *extent) -> (..., c * taps, *positions)"""
    extent = bottom.shape[axis + 1 :]
    positions = [(e + 2 * p - d * (k - 1) - 1) // s + 1 for e, (k, s, p, d) in zip(extent, window, strict=True)]
    taps = list(itertools.product(*(range(k) for k, *_ in window)))
    top = np.zeros((*bottom.shape[: axis + 1], len(taps), *positions))
    for (t, tap), place in itertools.product(enumerate(taps), np.ndindex(*positions)):
        pixel = tuple(n * s + k * d - p for n, k, (_, s, p, d) in zip(place, tap, window, strict=True))
        if all(0 <= i < e for i, e in zip(pixel, extent, strict=True)):
            top[(..., t, *place)] = bottom[(..., *pixel)]
    return top.reshape(*bottom.shape[:axis], -1, *positions)


@pytest.mark.parametrize("text", WINDOWS)
def test_columns(text):
    rng = np.random.default_rng(1)
    shape, axis, window = WINDOWS[text]
    case = build(f'type: "Im2col" convolution_param {{ {text} }}', [shape])
    fill(case, rng)
    np.testing.assert_array_equal(case.forward()[0], columns(case.bottom[0].data, axis, window))
    check_gradient(case, 0, rng)
    check_manners(case, rng)


def test_a_new_size_of_images():
    case = build('type: "Im2col" convolution_param { kernel_size: 2 }', [(1, 1, 2, 2)])
    case.reshape((2, 1, 3, 4))
    fill(case, np.random.default_rng(2))
    np.testing.assert_array_equal(case.forward()[0], columns(case.bottom[0].data, 1, [(2, 1, 0, 1)] * 2))


@pytest.mark.parametrize(
    ("text", "shape", "message"),
    [
        ("", (1, 1, 4, 4), "give kernel_size, or kernel_h and kernel_w"),
        ("kernel_size: 5", (1, 1, 4, 4), r"does not fit into the bottom, whose shape is \(1, 1, 4, 4\)"),
        ("kernel_size: 1 axis: 4", (1, 1, 4, 4), "axis: 4 is outside bottom 0"),
    ],
)
def test_messages(text, shape, message):
    with pytest.raises(LayerError, match=message):
        build(f'type: "Im2col" convolution_param {{ {text} }}', [shape])


def test_axes_stay_as_many_as_they_were():
    case = build('type: "Im2col" convolution_param { kernel_size: 1 }', [(1, 1, 4, 4)])
    with pytest.raises(LayerError, match="must have 4 axes"):
        case.reshape((1, 4, 4))


def test_many_planes_are_folded_like_one():
    case = build('type: "Im2col" convolution_param { kernel_size: 3 pad: 1 stride: 2 }', [(200, 3, 20, 21)])
    case.top[0].diff[...] = np.random.default_rng(0).standard_normal(case.top[0].shape)
    found = case.backward()[0].copy()
    one = build('type: "Im2col" convolution_param { kernel_size: 3 pad: 1 stride: 2 }', [(1, 3, 20, 21)])
    for i in (0, 54, 55, 199):
        one.top[0].diff[0] = case.top[0].diff[i]
        np.testing.assert_array_equal(one.backward()[0][0], found[i])
