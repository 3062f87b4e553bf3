"""Mul and Add against NumPy's broadcasting."""

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


@pytest.mark.parametrize(
    ("text", "shapes", "says"),
    [
        ('type: "Mul"', [(2, 3), (2, 4)], r"bottom shapes \(2, 3\) and \(2, 4\) do not fit"),
        (
            'type: "Add"',
            [(2, 1, 2, 1, 2, 1, 2), (1, 2, 1, 2, 1, 2, 1)],
            "take turns in more than 6 axes; use two layers",
        ),
    ],
)
def test_errors(text, shapes, says):
    with pytest.raises(LayerError, match=says):
        build(text, shapes)
