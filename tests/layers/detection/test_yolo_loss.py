"""Yolov3 against its definition, box by box."""

import math

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.detection.detections import overlap
from tests.layers.runner import build, check_manners

BIASES = (10, 20, 25, 15, 30, 40, 50, 60)


MASK = (3, 1)


CLASSES, SCALE, H, W = 3, 16, 3, 4


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def centred(x, y, w, h):
    return [x - w / 2, y - h / 2, x + w / 2, y + h / 2]


def misses_of(values, objects, *, thresh=0.2, coord=5.0, classes=1.0, obj=1.0, logic=False, focal=False):
    """d of one item (2 * 8, H, W), and its objects [class, x, y, w, h]; width 0 ends them."""
    d = np.zeros((2, 8, H, W))
    v = values.reshape(2, 8, H, W).astype(float)
    ends = [row[3] for row in objects].index(0)
    objects = objects[:ends]
    for b, a in enumerate(MASK):
        for j in range(H):
            for i in range(W):
                x, y, w, h, o = v[b, :5, j, i]
                box = centred(
                    (i + sigmoid(x)) / W,
                    (j + sigmoid(y)) / H,
                    math.exp(w) * BIASES[2 * a] / (W * SCALE),
                    math.exp(h) * BIASES[2 * a + 1] / (H * SCALE),
                )
                if not any(overlap(box, centred(*row[1:])) > thresh for row in objects):
                    d[b, 4, j, i] = sigmoid(o)
    taken = set()
    for label, x, y, w, h in objects:
        sizes = [(BIASES[2 * a] / (W * SCALE), BIASES[2 * a + 1] / (H * SCALE)) for a in range(4)]
        fits = [overlap(centred(0, 0, *size), centred(0, 0, w, h)) for size in sizes]
        best = fits.index(max(fits))
        if best not in MASK:
            continue
        b, i, j = MASK.index(best), int(x * W), int(y * H)
        at, s = v[b, :, j, i], [sigmoid(value) for value in v[b, :, j, i]]
        scale = coord * (2 - w * h)
        d[b, :5, j, i] = (
            scale * (s[0] - (x * W - i)),
            scale * (s[1] - (y * H - j)),
            scale * (at[2] - math.log(w / sizes[best][0])),
            scale * (at[3] - math.log(h / sizes[best][1])),
            (s[4] - 1) * (obj if logic else 1),
        )
        if (b, j, i) in taken:
            d[b, 5 + label, j, i] = s[5 + label] - 1
            continue
        taken.add((b, j, i))
        p = s[5 + label]
        focus = 0.5 * (1 - p) * (1 - p - 2 * p * math.log(p)) if focal else 1
        for c in range(CLASSES):
            d[b, 5 + c, j, i] = classes * (s[5 + c] - (c == label)) * focus
    return d.reshape(values.shape)


# Of the anchors' sizes 0.16 x 0.42, 0.39 x 0.31, 0.47 x 0.83, 0.78 x 1.25; the last of each item but one are in one
# place and anchor, and what stands behind width 0 is none.
OBJECTS = [
    [[1, 0.3, 0.4, 0.4, 0.3], [2, 0.7, 0.9, 0.2, 0.4], [0, 0.51, 0.5, 0.9, 0.9], [0, 0, 0, 0, 0], [9, 9, 9, 9, 9]],
    [[2, 0.6, 0.4, 0.38, 0.3], [0, 0.7, 0.5, 0.35, 0.35], [1, 0, 0.1, 0.5, 0.3], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]],
    [[0, 0, 0, 0, 0]] * 5,
]


SETTINGS = f"biases: [{', '.join(map(str, BIASES))}] mask: [3, 1] anchors_scale: {SCALE}"


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def layer(text, shapes=((3, 16, H, W), (3, 1, 25)), counts=f"num_class: {CLASSES} num: 2"):
    return build(f'type: "Yolov3" yolov3_param {{ {SETTINGS} {counts} {text} }}', list(shapes))


def given(case, rng):
    case.bottom[0].data[...] = rng.normal(0, 0.7, (3, 16, H, W))
    case.bottom[1].data[...] = np.reshape(OBJECTS, (3, 1, 25))
    return case.bottom[0].data.copy()


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", {}),
        ("thresh: 0.35 coord_scale: 1.5 class_scale: 2 object_scale: 9", {"thresh": 0.35, "coord": 1.5, "classes": 2}),
        ("use_logic_gradient: true object_scale: 3", {"logic": True, "obj": 3}),
        ("use_focal_loss: true", {"focal": True}),
    ],
)
def test_yolov3(rng, text, options):
    case = layer(text)
    values = given(case, rng)
    d = np.stack([misses_of(values[item], OBJECTS[item], **options) for item in range(3)])
    assert 0 < np.count_nonzero(d) < d.size / 2
    assert (d.reshape(3, 2, 8, -1)[:2, :, 4] == 0).any()  # boxes that overlap an object
    np.testing.assert_allclose(case.forward()[0], (d**2).sum() / 3, 1e-5)
    case.top[0].diff[...] = 0.5
    share = 1 / (1 + np.exp(-values.astype(float)))
    slope = np.array(share * (1 - share)).reshape(3, 2, 8, H, W)
    slope[:, :, 2:4] = 1
    expected = 0.5 / 3 * d * (slope.reshape(d.shape) if options.get("logic") else 1)
    np.testing.assert_allclose(case.backward()[0], expected, 1e-4, 1e-6)
    check_manners(case, rng)
    assert [case.layer.differentiable(i) for i in range(2)] == [True, False]


def test_yolov3_with_logic_gradient_is_half_the_derivative_where_nothing_is_scaled(rng):
    case = layer("use_logic_gradient: true coord_scale: 1 thresh: 1")
    case.bottom[0].data[...] = x = rng.normal(0, 0.7, (3, 16, H, W)).astype(np.float32)
    case.bottom[1].data[:, 0, :5] = [1, 0.4, 0.6, 0.8, 1.25]  # an area of 1
    case.forward()
    case.top[0].diff[...] = 1
    diff, direction = case.backward()[0].astype(float), rng.uniform(-1, 1, x.shape)
    assert diff.reshape(3, 2, 8, -1)[0, 0, :4].any()

    def loss(step):
        case.bottom[0].data[...] = x + step * direction
        return float(case.forward()[0])

    np.testing.assert_allclose((diff * direction).sum(), (loss(0.01) - loss(-0.01)) / 0.04, 2e-3)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ([3, 0.5, 0.5, 0.1, 0.1], "object 1 of item 2 of bottom 'bottom1' is .*; give a class 0 to 2, a middle at 0"),
        ([-1, 0.5, 0.5, 0.1, 0.1], "give a class 0 to 2"),
        ([0, 1, 0.5, 0.1, 0.1], "a middle at 0 or above and below 1"),
        ([0, 0.5, -0.1, 0.1, 0.1], "a middle at 0 or above and below 1"),
        ([0, 0.5, 0.5, 0.1, 0], "a width and height above 0"),
        ([math.nan, 0.5, 0.5, 0.1, 0.1], "give a class 0 to 2"),
    ],
)
def test_objects_that_cannot_be(rng, row, says):
    case = layer("")
    given(case, rng)
    case.bottom[1].data[2, 0, :10] = [0, 0.5, 0.5, 0.2, 0.2, *row]
    with pytest.raises(LayerError, match=says):
        case.forward()


@pytest.mark.parametrize(
    ("text", "shapes", "says"),
    [
        (
            "num_class: 0 num: 2",
            [(3, 10, H, W), (3, 5)],
            "num_class: 0, num: 2 and anchors_scale: 16 must be at least 1",
        ),
        ("num_class: 3 num: 3", [(3, 24, H, W), (3, 5)], r"mask: \[3, 1\] must name num: 3 anchors"),
        (
            "num_class: 3 num: 2 biases: 3",
            [(3, 16, H, W), (3, 5)],
            "biases: 9 numbers; give the width and the height of 4 anchors, 8",
        ),
        (
            "num_class: 3 num: 2",
            [(3, 15, H, W), (3, 5)],
            r"has shape \(3, 15, 3, 4\); 2 boxes of 5 numbers and 3 classes need \(3, 16, h",
        ),
        (
            "num_class: 3 num: 2",
            [(3, 16, H, W), (3, 1, 8)],
            r"'bottom1' has shape \(3, 1, 8\); give 5 numbers for each object",
        ),
        (
            "num_class: 3 num: 2",
            [(3, 16, H, W), (2, 5)],
            r"'bottom1' has shape \(2, 5\); give 5 numbers for each object",
        ),
    ],
)
def test_errors(text, shapes, says):
    with pytest.raises(LayerError, match=says):
        layer("", shapes, text)
