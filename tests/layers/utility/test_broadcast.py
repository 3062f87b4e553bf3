"""Mul, Add, Axpy and Squeeze."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.runner import build, check_gradient, check_manners, fill

SHAPES = [
    [(2, 3, 4, 5), (2, 3, 4, 5)],
    [(2, 3, 4, 5), (2, 3, 1, 1)],
    [(2, 3, 1, 1), (2, 3, 4, 5)],
    [(2, 1, 4, 1), (1, 3, 1, 5)],
    [(2, 3, 4), ()],
    [(4,), (2, 3, 4)],
    [(1, 1), (1, 1)],
]


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize(("kind", "operation"), [("Mul", np.multiply), ("Add", np.add)])
def test_broadcasting_is_numpys(kind, operation, shapes):
    case = build(f'type: "{kind}"', shapes)
    rng = np.random.default_rng(0)
    fill(case, rng)
    (top,) = case.forward()
    np.testing.assert_array_equal(top, operation(case.bottom[0].data, case.bottom[1].data))
    for bottom in (0, 1):
        check_gradient(case, bottom, rng)
    check_manners(case, rng)


@pytest.mark.parametrize("scale", [(2, 3), (2, 3, 1, 1)])
def test_axpy(scale):
    case = build('type: "Axpy"', [scale, (2, 3, 4, 5), (2, 3, 4, 5)])
    rng = np.random.default_rng(0)
    fill(case, rng)
    a, x, y = (blob.data for blob in case.bottom)
    np.testing.assert_allclose(case.forward()[0], a.reshape(2, 3, 1, 1) * x + y, 1e-6, 1e-6)
    for bottom in range(3):
        check_gradient(case, bottom, rng)
    check_manners(case, rng)


@pytest.mark.parametrize(
    ("param", "shape", "top"),
    [
        ("", (2, 1, 3, 1), (2, 3)),
        ("", (1, 1), ()),
        ("axis: -1", (2, 1, 3, 1), (2, 1, 3)),
        ("axis: 1 axis: 3", (2, 1, 3, 1), (2, 3)),
    ],
)
def test_squeeze(param, shape, top):
    case = build(f'type: "Squeeze" squeeze_param {{ {param} }}', [shape])
    rng = np.random.default_rng(0)
    fill(case, rng)
    np.testing.assert_array_equal(case.forward()[0], case.bottom[0].data.reshape(top))


@pytest.mark.parametrize(
    ("text", "shapes", "says"),
    [
        ('type: "Mul"', [(2, 3), (2, 4)], r"bottom shapes \(2, 3\) and \(2, 4\) do not fit"),
        (
            'type: "Add"',
            [(2, 1, 2, 1, 2, 1, 2), (1, 2, 1, 2, 1, 2, 1)],
            "take turns in more than 6 axes; use two layers",
        ),
        ('type: "Axpy"', [(2, 3), (2, 3, 4), (2, 3, 5)], "bottoms 1 and 2 must have one shape"),
        ('type: "Axpy"', [(2, 4), (2, 3, 4), (2, 3, 4)], r"bottom 0 has shape \(2, 4\); give one value for each"),
        ('type: "Squeeze" squeeze_param { axis: 1 }', [(1, 2)], r"axis: 1 of bottom shape \(1, 2\) has length 2"),
    ],
)
def test_errors(text, shapes, says):
    with pytest.raises(LayerError, match=says):
        build(text, shapes)
