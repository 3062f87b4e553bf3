"""Correlation and Correlation1D against their definition."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.runner import build, check_gradient, check_manners, fill


def at(image, y, x):
    """(c): the pixel, zeros outside."""
    inside = 0 <= y < image.shape[1] and 0 <= x < image.shape[2]
    return image[:, y, x] if inside else np.zeros(len(image))


def correlation(first, second, size, displacements, corner, stride, kernel, compare):
    """The definition for one item; `corner` is where the first patch begins."""
    top = np.zeros((len(displacements), *size))
    for d, (dy, dx) in enumerate(displacements):
        for i, j in np.ndindex(*size):
            y, x = i * stride + corner[0], j * stride + corner[1]
            top[d, i, j] = np.mean(
                [
                    compare(at(first, y + a, x + b), at(second, y + a + dy, x + b + dx))
                    for a, b in np.ndindex(kernel, kernel)
                ]
            )
    return top


COMPARE = {"MULTIPLY": lambda a, b: a * b, "SUBTRACT": lambda a, b: abs(a - b)}


CORRELATIONS = [
    # parameters, the top's size, displacements along y and along x, corner
    (
        'type: "Correlation" correlation_param { pad: 3 kernel_size: 3 max_displacement: 2 stride_1: 2 stride_2: 2',
        (3, 4),
        (range(-2, 3, 2), range(-2, 3, 2)),
        (-1, -1),
    ),
    (
        'type: "Correlation" correlation_param { kernel_size: 1 max_displacement: 1',
        (4, 5),
        (range(-1, 2), range(-1, 2)),
        (1, 1),
    ),
    (
        'type: "Correlation1D" correlation_param { pad: 2 kernel_size: 3 max_displacement: 2',
        (4, 5),
        ([0], range(-2, 3)),
        (0, 0),
    ),
    (
        'type: "Correlation1D" correlation_param { pad: 2 kernel_size: 1 max_displacement: 2 single_direction: -1',
        (6, 7),
        ([0], range(-3, 0)),
        (0, 0),
    ),
    (
        'type: "Correlation1D" correlation_param { kernel_size: 1 max_displacement: 2 stride_2: 2 single_direction: 1',
        (6, 3),
        ([0], range(0, 3, 2)),
        (0, 2),
    ),
]


@pytest.mark.parametrize("kind", COMPARE)
@pytest.mark.parametrize(("text", "size", "displacements", "corner"), CORRELATIONS)
def test_correlation(text, size, displacements, corner, kind):
    case = build(f"{text} correlation_type: {kind} }}", [(2, 3, 6, 7)] * 2)
    rng = np.random.default_rng(0)
    fill(case, rng)
    p = case.layer.param.correlation_param
    pairs = [(dy, dx) for dy in displacements[0] for dx in displacements[1]]
    (top,) = case.forward()
    for n, found in enumerate(top):
        images = [blob.data[n].astype(np.float64) for blob in case.bottom]
        expected = correlation(*images, size, pairs, corner, p.stride_1, p.kernel_size, COMPARE[kind])
        np.testing.assert_allclose(found, expected, 1e-5, 1e-6)
    if kind == "SUBTRACT":  # no two values nearer than the gradient check's step
        for blob, start in zip(case.bottom, (0.25, 0), strict=True):
            blob.data[...] = rng.permutation(blob.data.size).reshape(blob.shape) * 0.5 + start
    check_gradient(case, 0, rng)
    check_gradient(case, 1, rng)
    check_manners(case, rng)


@pytest.mark.parametrize(
    ("text", "shapes", "says"),
    [
        ("max_displacement: 1", [(1, 2, 5, 5)] * 2, "give correlation_param { kernel_size }"),
        ("kernel_size: 1", [(1, 2, 5, 5)] * 2, "give correlation_param { max_displacement }"),
        ("kernel_size: 2 max_displacement: 1", [(1, 2, 5, 5)] * 2, "kernel_size: 2 must be odd"),
        ("kernel_size: 1 max_displacement: 1 stride_2: 0", [(1, 2, 5, 5)] * 2, "stride_1: 1 and stride_2: 0 must be 1"),
        ("kernel_size: 1 max_displacement: 1 single_direction: 1", [(1, 2, 5, 5)] * 2, "1 is for Correlation1D"),
        ("kernel_size: 1 max_displacement: 1", [(1, 2, 5, 5), (1, 2, 5, 4)], r"one shape, got \(1, 2, 5, 5\) and"),
        (
            "kernel_size: 3 max_displacement: 2",
            [(1, 2, 5, 9)] * 2,
            "kernel_size: 3 moved by max_displacement: 2 do not",
        ),
    ],
)
def test_correlation_says(text, shapes, says):
    with pytest.raises(LayerError, match=says):
        build(f'type: "Correlation" correlation_param {{ {text} }}', shapes)


def test_correlation_1d_says():
    with pytest.raises(LayerError, match=r"single_direction: 2 must be -1 \(left\), 0 \(both\) or 1 \(right\)"):
        build(
            'type: "Correlation1D" correlation_param { kernel_size: 1 max_displacement: 1 single_direction: 2 }',
            [(1, 2, 5, 5)] * 2,
        )
