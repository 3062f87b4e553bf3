"""Tile against NumPy's."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.runner import build, check_gradient, check_manners, fill


@pytest.mark.parametrize("tiles", [1, 3])
@pytest.mark.parametrize(("shape", "axis"), [((2, 3, 4), 0), ((2, 3, 4), 1), ((2, 3, 4), -1), ((5,), 0), ((2, 0), 1)])
def test_copies_follow_one_another_along_the_axis(shape, axis, tiles):
    rng = np.random.default_rng(1)
    case = build(f'type: "Tile" tile_param {{ axis: {axis} tiles: {tiles} }}', [shape])
    fill(case, rng)
    expected = np.concatenate([case.bottom[0].data] * tiles, axis)
    np.testing.assert_array_equal(case.forward()[0], expected)
    check_gradient(case, 0, rng)
    check_manners(case, rng)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "give tile_param tiles of at least 1, got 0"),
        ("tile_param { tiles: -2 }", "give tile_param tiles of at least 1, got -2"),
        ("tile_param { tiles: 2 axis: 2 }", r"axis: 2 is outside bottom 0, whose shape is \(2, 3\)"),
    ],
)
def test_messages(text, message):
    with pytest.raises(LayerError, match=message):
        build(f'type: "Tile" {text}', [(2, 3)])
