"""YoloSeg against its definition, place by place."""

import math

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.runner import build, check_manners


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.mark.parametrize("weighted", [False, True])
def test_yolo_seg(rng, weighted):
    shape = (3, 2, 4, 5)
    shapes = [shape, shape, shape[:2]][: 3 if weighted else 2]
    case = build('type: "YoloSeg" yolo_seg_param { object_scale: 0.3 }', shapes)
    case.bottom[0].data[...] = x = rng.normal(0, 2, shape).astype(np.float32)
    case.bottom[1].data[...] = label = (rng.random(shape) < 0.3).astype(np.float32)
    label[0, 0, 0, :2] = case.bottom[1].data[0, 0, 0, :2] = 0.5, 0.75
    if weighted:
        case.bottom[2].data[...] = [[5, 1], [2, 7], [0, 3]]
    d = np.zeros(shape)
    for n, c, i, j in np.ndindex(shape):
        having = (7, 11)[c]
        scale = 0.3 * (2 - having / (60 - having) if weighted and label[n, c, i, j] > 0.5 else 1)
        d[n, c, i, j] = scale * (sigmoid(x[n, c, i, j]) - label[n, c, i, j])
    np.testing.assert_allclose(case.forward()[0], (d**2).sum() / 3, 1e-5)
    case.top[0].diff[...] = 0.5
    np.testing.assert_allclose(case.backward()[0], d * 0.5 / 3, 1e-5, 1e-7)
    check_manners(case, rng)
    assert [case.layer.differentiable(i) for i in range(3)] == [True, False, False]


def test_yolo_segs_diff_is_that_of_the_sigmoid_cross_entropy(rng):
    shape = (2, 2, 3, 3)
    cases = [build(f'type: "{kind}"', [shape] * 2) for kind in ("YoloSeg", "SigmoidCrossEntropyLoss")]
    x, label = rng.normal(0, 2, shape), rng.random(shape) < 0.5
    found = []
    for case in cases:
        case.bottom[0].data[...], case.bottom[1].data[...] = x, label
        case.forward()
        case.top[0].diff[...] = 1
        found.append(case.backward()[0])
    np.testing.assert_allclose(found[0], 5 * found[1], 1e-5, 1e-7)


@pytest.mark.parametrize(
    ("shapes", "says"),
    [
        ([(2, 3, 4), (2, 3, 5)], r"has shape \(2, 3, 5\); scores of shape \(2, 3, 4\) need as many labels"),
        ([(2,), (2,)], "and 2 axes at least, items and classes"),
        ([(2, 3, 4), (2, 3, 4), (2, 4)], r"'bottom2' has shape \(2, 4\); give one number of places for each item and"),
    ],
)
def test_errors_of_yolo_seg(shapes, says):
    with pytest.raises(LayerError, match=says):
        build('type: "YoloSeg"', shapes)
