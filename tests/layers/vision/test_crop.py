"""Crop against slicing."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.runner import build, check_gradient, check_manners, fill


@pytest.mark.parametrize(
    ("text", "reference", "part"),
    [
        ("", (9, 9, 2, 3), np.s_[:, :, :2, :3]),
        ("offset: 1", (9, 9, 2, 3), np.s_[:, :, 1:3, 1:4]),
        ("offset: 1 offset: 2", (9, 9, 2, 3), np.s_[:, :, 1:3, 2:5]),
        ("axis: 1 offset: 1 offset: 0 offset: 2", (9, 2, 4, 1), np.s_[:, 1:3, :, 2:3]),
        ("axis: 0 offset: 1", (1, 2, 3, 4), np.s_[1:2, 1:3, 1:4, 1:5]),
        ("axis: -1 offset: 2", (9, 9, 9, 3), np.s_[:, :, :, 2:5]),
        ("axis: 3 offset: 5", (9, 9, 9, 0), np.s_[:, :, :, 5:5]),
    ],
)
def test_top_is_a_part(text, reference, part):
    rng = np.random.default_rng(1)
    case = build(f'type: "Crop" crop_param {{ {text} }}', [(2, 3, 4, 5), reference])
    fill(case, rng)
    np.testing.assert_array_equal(case.forward()[0], case.bottom[0].data[part])
    assert not case.layer.differentiable(1)
    check_gradient(case, 0, rng)
    check_manners(case, rng)


def test_any_number_of_axes_and_a_bottom_that_grows():
    case = build('type: "Crop" crop_param { axis: 0 offset: 2 }', [(7,), (3,)])
    case.bottom[0].data[...] = range(7)
    assert case.forward()[0].tolist() == [2, 3, 4]
    case.reshape((9,), (5,))
    case.bottom[0].data[...] = range(9)
    assert case.forward()[0].tolist() == [2, 3, 4, 5, 6]
    case.top[0].diff[...] = 1
    assert case.backward()[0].tolist() == [0, 0, 1, 1, 1, 1, 1, 0, 0]


@pytest.mark.parametrize(
    ("text", "shapes", "message"),
    [
        (
            "offset: 1",
            [(1, 1, 4, 5), (1, 1, 4, 2)],
            r"axis 2: 4 from offset 1 on do not fit into bottom shape \(1, 1, 4, 5\)",
        ),
        ("offset: 1 offset: 1", [(1, 2, 3), (1, 2, 1)], "2 offset for 1 axes to crop; give none, one for all, or one"),
        ("axis: 3", [(1, 2, 3), (1, 2, 1)], "axis: 3 is outside bottom 0"),
        ("", [(1, 2, 3), (1, 2)], r"the reference, has shape \(1, 2\); it must have as many axes as bottom 'bottom0'"),
    ],
)
def test_messages(text, shapes, message):
    with pytest.raises(LayerError, match=message):
        build(f'type: "Crop" crop_param {{ {text} }}', shapes)
