"""Concat and Slice against np.concatenate and np.split, and against each other."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.runner import build, check_gradient, check_manners, fill


@pytest.mark.parametrize(
    ("text", "axis", "shapes"),
    [
        ("", 1, [(2, 3, 4), (2, 1, 4)]),
        ("axis: 0", 0, [(2, 3), (5, 3), (1, 3)]),
        ("axis: -1", 2, [(2, 3, 1), (2, 3, 4)]),
        ("concat_dim: 2", 2, [(2, 3, 1), (2, 3, 4)]),
        ("axis: 1", 1, [(2, 3)]),
        ("", 1, [(2, 0, 3), (2, 2, 3)]),
    ],
)
def test_concat(text, axis, shapes):
    rng = np.random.default_rng(1)
    case = build(f'type: "Concat" concat_param {{ {text} }}', shapes)
    fill(case, rng)
    np.testing.assert_array_equal(case.forward()[0], np.concatenate([b.data for b in case.bottom], axis))
    case.top[0].diff[...] = diff = rng.standard_normal(case.top[0].shape).astype(np.float32)
    edges = np.cumsum([s[axis] for s in shapes])[:-1]
    for found, expected in zip(case.backward(), np.split(diff, edges, axis), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("text", "axis", "points", "shape"),
    [
        ("", 1, [2, 4], (3, 6, 2)),
        ("axis: 0 slice_point: 1 slice_point: 4", 0, [1, 4], (5, 2)),
        ("slice_dim: 2 slice_point: 2 slice_point: 3", 2, [2, 3], (2, 3, 7)),
        ("axis: -1 slice_point: 1 slice_point: 2", 1, [1, 2], (2, 9)),
    ],
)
def test_slice(text, axis, points, shape):
    rng = np.random.default_rng(2)
    case = build(f'type: "Slice" bottom: "x" top: "a" top: "b" top: "c" slice_param {{ {text} }}', [shape])
    fill(case, rng)
    for found, expected in zip(case.forward(), np.split(case.bottom[0].data, points, axis), strict=True):
        np.testing.assert_array_equal(found, expected)
    for top in case.top:
        top.diff[...] = rng.standard_normal(top.shape)
    np.testing.assert_array_equal(case.backward()[0], np.concatenate([t.diff for t in case.top], axis))


def test_gradients_and_manners():
    rng = np.random.default_rng(3)
    concat = build('type: "Concat"', [(2, 3, 4), (2, 2, 4)])
    cut = build('type: "Slice" bottom: "x" top: "a" top: "b" slice_param { slice_point: 1 }', [(2, 3, 4)])
    for case, tops in ((concat, [0]), (cut, [0, 1])):
        fill(case, rng)
        for index in range(len(case.bottom)):
            check_gradient(case, index, rng, tops=tops)
        check_manners(case, rng)


def test_concat_leaves_the_diffs_nobody_asked_for():
    case = build('type: "Concat"', [(2, 3), (2, 2)])
    for bottom in case.bottom:
        bottom.diff[...] = 9
    case.backward([False, True])
    assert (case.bottom[0].diff == 9).all()
    assert (case.bottom[1].diff == 0).all()


@pytest.mark.parametrize("text", ['type: "Concat"', 'type: "Slice"'])
def test_one_part_is_the_whole(text):
    case = build(text, [(2, 3)])
    assert case.layer.shares == "both"
    assert case.top[0].shape == (2, 3)


@pytest.mark.parametrize(
    ("text", "shapes", "message"),
    [
        ('type: "Concat"', [(2, 3), (3, 3)], r"'bottom1' has shape \(3, 3\), .* may differ along axis 1 only"),
        ('type: "Concat"', [(2, 3), (2, 3, 1)], "may differ along axis 1 only"),
        ('type: "Concat" concat_param { axis: 5 }', [(2, 3)], "axis: 5 is outside"),
        ('type: "Concat" concat_param { axis: 1 concat_dim: 1 }', [(2, 3)], "give axis or concat_dim, not both"),
        ('type: "Slice" slice_param { axis: 1 slice_dim: 1 }', [(2, 3)], "give axis or slice_dim, not both"),
        ('type: "Slice" bottom: "x" top: "a" top: "b"', [(2, 3)], "does not divide into 2 equal tops"),
        ('type: "Slice" bottom: "x" top: "a" slice_param { slice_point: 1 }', [(2, 3)], "1 slice_point for 1 tops"),
        (
            'type: "Slice" bottom: "x" top: "a" top: "b" slice_param { slice_point: 3 }',
            [(2, 3)],
            r"\[3\] must increase",
        ),
        (
            'type: "Slice" bottom: "x" top: "a" top: "b" slice_param { slice_point: 0 }',
            [(2, 3)],
            r"\[0\] must increase",
        ),
        (
            'type: "Slice" bottom: "x" top: "a" top: "b" top: "c" slice_param { slice_point: 2 slice_point: 1 }',
            [(2, 3)],
            r"\[2, 1\] must increase and lie inside axis 1",
        ),
    ],
)
def test_errors(text, shapes, message):
    with pytest.raises(LayerError, match=message):
        build(text, shapes)
