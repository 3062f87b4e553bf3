"""Squeeze: the axes it drops."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.runner import build, fill


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
        ('type: "Squeeze" squeeze_param { axis: 1 }', [(1, 2)], r"axis: 1 of bottom shape \(1, 2\) has length 2"),
    ],
)
def test_errors(text, shapes, says):
    with pytest.raises(LayerError, match=says):
        build(text, shapes)
