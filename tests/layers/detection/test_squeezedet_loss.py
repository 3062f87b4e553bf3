"""SqueezeDetLoss against its definition, anchor by anchor, and its diffs against differences."""

import math

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.detection.detections import overlap
from tests.layers.runner import build, check_gradient, check_manners

ITEMS, H, W, EACH, CLASSES, IMAGE = 3, 2, 3, 2, 3, 100
SHAPES = ((20, 30), (60, 40))  # width, height
ANCHORS = H * W * EACH
SETTINGS = "classes: 3 anchors_per_grid: 2 anchor_shapes: [20, 30, 60, 40] pos_conf: 7 neg_conf: 5 lambda_bbox: 2"
BOTTOMS = [(ITEMS, ANCHORS, CLASSES), (ITEMS, H, W, EACH), (ITEMS, H, W, 4 * EACH), (ITEMS, 20)]
# The first two of item 0 belong to one anchor; what stands behind -1 is no object.
OBJECTS = [
    [20, 10, 60, 40, 2, 22, 12, 61, 42, 0, 50, 50, 99, 90, 1, -1, 7, 7, 7, 7],
    [5, 60, 30, 95, 1] + [-1] * 15,
    [-1] * 20,
]


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def anchor(index):
    """Middle x and y, width, height."""
    place, b = divmod(index, EACH)
    return (place // H + 1) * IMAGE / (W + 1), (place % H + 1) * IMAGE / (H + 1), *SHAPES[b]


def clipped(offset, index):
    x, y, w, h = anchor(index)
    x, y, w, h = x + w * offset[0], y + h * offset[1], w * math.exp(offset[3]), h * math.exp(offset[2])
    return [min(max(edge, 0), IMAGE - 1) for edge in (x - w / 2, y - h / 2, x + w / 2, y + h / 2)]


def definition(classes, confidences, offsets, factor=1.0):
    """`factor` is lambda_conf."""
    confidences, offsets = confidences.reshape(ITEMS, ANCHORS), offsets.reshape(ITEMS, ANCHORS, 4)
    total = 0.0
    for item, numbers in enumerate(OBJECTS):
        rows = [numbers[k : k + 5] for k in range(0, 20, 5)]
        rows = rows[: [row[0] for row in rows].index(-1)]
        for xmin, ymin, xmax, ymax, label in rows:
            found = [overlap(clipped(offsets[item, a], a), (xmin, ymin, xmax, ymax)) for a in range(ANCHORS)]
            best = found.index(max(found))
            total -= factor / len(rows) * math.log(classes[item, best, label])
            for a in range(ANCHORS):
                if a == best:
                    total += 7 / len(rows) * (confidences[item, a] - found[a]) ** 2
                else:
                    total += 5 / (ANCHORS - len(rows)) * confidences[item, a] ** 2
            (x, y, w, h), wide, high = anchor(best), xmax - xmin + 1, ymax - ymin + 1
            goal = (xmin + wide / 2 - x) / w, (ymin + high / 2 - y) / h, math.log(high / h), math.log(wide / w)
            total += 2 / len(rows) * sum((o - g) ** 2 for o, g in zip(offsets[item, best], goal, strict=True))
    return total / ITEMS


def layer(text, shapes=BOTTOMS):
    return build(f'type: "SqueezeDetLoss" transform_param {{ crop_size: 100 }} squeezedet_param {{ {text} }}', shapes)


def given(case, rng):
    scores = rng.uniform(0.2, 1, BOTTOMS[0])
    case.bottom[0].data[...] = scores / scores.sum(axis=2, keepdims=True)
    case.bottom[1].data[...] = rng.uniform(0, 1, BOTTOMS[1])
    case.bottom[2].data[...] = rng.normal(0, 0.2, BOTTOMS[2])
    case.bottom[3].data[...] = OBJECTS
    return [blob.data.astype(float) for blob in case.bottom[:3]]


@pytest.mark.parametrize("factor", [1, 0.5])
def test_loss(rng, factor):
    case = layer(f"{SETTINGS} lambda_conf: {factor}")
    values = given(case, rng)
    np.testing.assert_allclose(case.forward()[0], definition(*values, factor), 1e-4)
    check_manners(case, rng)
    assert [case.layer.differentiable(i) for i in range(4)] == [True, True, True, False]


def test_diffs(rng):
    case = layer(f"{SETTINGS} lambda_conf: 0")
    values = given(case, rng)
    check_gradient(case, 1, rng)
    case.forward()
    overlapping = case.layer.found[0].overlaps.copy()
    case.top[0].diff[...] = 3
    classes, _, offsets = case.backward()[:3]
    # The classes' diff leaves lambda_conf and the number of objects out.
    of_classes = classes[classes != 0] * ITEMS / 3
    assert len(of_classes) == 4
    assert set(np.round(-1 / of_classes, 4)) <= set(np.round(values[0].astype(np.float32).ravel(), 4))
    # An offset's diff takes the overlaps for constants: with pos_conf 0 it is the derivative.
    case = layer(SETTINGS.replace("pos_conf: 7", "pos_conf: 0"))
    given(case, rng)
    check_gradient(case, 2, rng, step=1e-3)
    case.forward()
    case.top[0].diff[...] = 3
    without = case.backward()[2]
    assert np.count_nonzero(without) == 4 * 3
    assert np.count_nonzero(offsets) == 4 * 3
    assert (overlapping > 0.1).all()


def test_no_objects_no_loss(rng):
    case = layer(SETTINGS)
    given(case, rng)
    case.bottom[3].data[...] = -1
    assert case.forward()[0] == 0
    case.top[0].diff[...] = 1
    assert not any(diff.any() for diff in case.backward()[:3])


def test_offsets_that_overflow(rng):
    case = layer(SETTINGS)
    given(case, rng)
    case.bottom[2].data[...] = 1e9
    assert case.forward()[0] > 1e9


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (
            [5, 5, 9, 9, 3],
            "object 1 of item 1 of bottom 'bottom3' is .* give xmin, ymin, xmax, ymax and a class 0 to 2",
        ),
        ([5, 5, 4, 9, 0], "give xmin, ymin, xmax, ymax and a class"),
        ([5, 5, 9, math.nan, 0], "give xmin, ymin, xmax, ymax and a class"),
    ],
)
def test_objects_that_cannot_be(rng, row, says):
    case = layer(SETTINGS)
    given(case, rng)
    case.bottom[3].data[1, 5:10] = row
    with pytest.raises(LayerError, match=says):
        case.forward()


def test_as_many_objects_as_anchors(rng):
    case = layer(SETTINGS, [(1, 2, 3), (1, 1, 1, 2), (1, 1, 1, 8), (1, 10)])
    case.bottom[3].data[...] = [1, 1, 9, 9, 0] * 2
    with pytest.raises(LayerError, match="item 0 has 2 objects; give fewer than the 2 anchors"):
        case.forward()


@pytest.mark.parametrize(
    ("text", "changed", "says"),
    [
        ("anchors_per_grid: 2", {}, "classes: 0 and anchors_per_grid: 2 must be at least 1"),
        ("classes: 3 anchors_per_grid: 2 anchor_shapes: 3", {}, r"anchor_shapes: \[3\]; give the width and the height"),
        ("classes: 3 anchors_per_grid: 1 anchor_shapes: [3, 0]", {}, "of 1 anchors, 1 at least"),
        (SETTINGS, {0: (ITEMS, 11, 3)}, r"'bottom0' has shape \(3, 11, 3\); 2 anchors at each of 2 x 3 places, and 3"),
        (SETTINGS, {1: (ITEMS, H, W, 3)}, r"'bottom1' has shape \(3, 2, 3, 3\)"),
        (SETTINGS, {1: (ITEMS, 12)}, "bottom 'bottom1' must have 4 axes"),
        (SETTINGS, {2: (ITEMS, H, W, 7)}, r"'bottom2' has shape \(3, 2, 3, 7\); .* need \(3, 2, 3, 8\)"),
        (SETTINGS, {3: (ITEMS, 8)}, r"'bottom3' has shape \(3, 8\); give 5 numbers for each object"),
    ],
)
def test_errors(text, changed, says):
    with pytest.raises(LayerError, match=says):
        layer(text, [changed.get(i, shape) for i, shape in enumerate(BOTTOMS)])
