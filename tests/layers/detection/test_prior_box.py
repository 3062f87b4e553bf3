"""PriorBox: its boxes counted one after the other, as the paper and SSD's layer do."""

import math

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.runner import build


def boxes(h, w, image, steps, sizes, ratios, offsets=((0.5, 0.5),)):
    """sizes are (min, max or None); ratios without 1."""
    found = []
    for y in range(h):
        for x in range(w):
            for smallest, largest in sizes:
                shapes = [(smallest, smallest)]
                if largest:
                    shapes.append((math.sqrt(smallest * largest),) * 2)
                shapes += [(smallest * math.sqrt(r), smallest / math.sqrt(r)) for r in ratios]
                for wide, high in shapes:
                    for down, right in offsets:
                        cx, cy = (x + right) * steps[1], (y + down) * steps[0]
                        found += [
                            (cx - wide / 2) / image[1],
                            (cy - high / 2) / image[0],
                            (cx + wide / 2) / image[1],
                            (cy + high / 2) / image[0],
                        ]
    return np.array(found)


@pytest.mark.parametrize(
    ("param", "expected"),
    [
        ("min_size: 10", boxes(3, 4, (30, 60), (10, 15), [(10, None)], [])),
        (
            "min_size: 10 max_size: 20 aspect_ratio: 2 aspect_ratio: 1 aspect_ratio: 2 aspect_ratio: 3",
            boxes(3, 4, (30, 60), (10, 15), [(10, 20)], [2, 0.5, 3, 1 / 3]),
        ),
        (
            "min_size: 10.9 min_size: 16 aspect_ratio: 2 flip: false step: 8 img_size: 40 offset: 0.25",
            boxes(3, 4, (40, 40), (8, 8), [(10, None), (16, None)], [2], [(0.25, 0.25)]),
        ),
        (
            "min_size: 10 clip: true step_h: 8 step_w: 9 img_h: 20 img_w: 25",
            boxes(3, 4, (20, 25), (8, 9), [(10, None)], []).clip(0, 1),
        ),
        (
            "min_size: 10 aspect_ratio: 2 offset_h: 0.5 offset_h: 1 offset_w: 0.5 offset_w: 0.5",
            boxes(3, 4, (30, 60), (10, 15), [(10, None)], [2, 0.5], [(0.5, 0.5), (1, 0.5)]),
        ),
    ],
)
@pytest.mark.parametrize("variance", [[], [0.2], [0.1, 0.1, 0.2, 0.2]])
def test_boxes_and_variances(param, expected, variance):
    given = " ".join(f"variance: {v}" for v in variance)
    case = build(f'type: "PriorBox" prior_box_param {{ {param} {given} }}', [(2, 5, 3, 4), (2, 3, 30, 60)])
    (top,) = case.forward()
    assert top.shape == (1, 2, expected.size)
    np.testing.assert_allclose(top[0, 0], expected, 1e-5, 1e-6)
    np.testing.assert_array_equal(top[0, 1], np.resize(np.float32(variance or [0.1]), expected.size))
    assert not case.layer.differentiable(0)


def test_another_image():
    case = build('type: "PriorBox" prior_box_param { min_size: 4 }', [(1, 1, 1, 1), (1, 3, 8, 8)])
    case.reshape((1, 1, 1, 2), (1, 3, 16, 16))
    np.testing.assert_allclose(case.forward()[0][0, 0], boxes(1, 2, (16, 16), (16, 8), [(4, None)], []))


@pytest.mark.parametrize(
    ("param", "says"),
    [
        ("", r"give min_size, and max_size if any, above 0 and below 2147483648, got \[\] and \[\]"),
        ("min_size: inf", r"above 0 and below 2147483648, got \[inf\]"),
        ("min_size: 5 max_size: 3.4e38", r"above 0 and below 2147483648, got \[5.0\] and \[3.3"),
        ("min_size: 5 aspect_ratio: nan", "aspect_ratio: nan must be a number above 0"),
        ("min_size: 5 max_size: 5", "max_size: 5 must be above its min_size: 5"),
        ("min_size: 5 max_size: 6 max_size: 7", "give one max_size for each min_size or none"),
        ("min_size: 5 aspect_ratio: 0", "aspect_ratio: 0 must be a number above 0"),
        ("min_size: 5 variance: [1, 2]", "variance: give one or four numbers above 0, got"),
        ("min_size: 5 step: 2 step_h: 3 step_w: 3", r"give step or step_h and step_w, above 0, got 2 and \[3.0, 3.0\]"),
        ("min_size: 5 img_h: 3", r"give img_size or img_h and img_w, above 0, got 0 and \[3, 0\]"),
        ("min_size: 5 offset_h: 1", "give as many offset_h as offset_w, got 1 and 0"),
    ],
)
def test_errors(param, says):
    with pytest.raises(LayerError, match=says):
        build(f'type: "PriorBox" prior_box_param {{ {param} }}', [(1, 1, 2, 2), (1, 3, 9, 9)])
