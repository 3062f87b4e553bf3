"""Proposal against Faster R-CNN's steps, anchor by anchor."""

import math

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.detection.detections import suppressed
from tests.layers.runner import build

ANCHORS = [  # as py-faster-rcnn's generate_anchors() prints them
    [-84, -40, 99, 55],
    [-176, -88, 191, 103],
    [-360, -184, 375, 199],
    [-56, -56, 71, 71],
    [-120, -120, 135, 135],
    [-248, -248, 263, 263],
    [-36, -80, 51, 95],
    [-80, -168, 95, 183],
    [-168, -344, 183, 359],
]


def definition(scores, deltas, image, anchors, *, stride, least, before, after, threshold):
    found = []
    for y in range(scores.shape[1]):
        for x in range(scores.shape[2]):
            for a, (x1, y1, x2, y2) in enumerate(anchors):
                dx, dy, dw, dh = deltas[4 * a : 4 * a + 4, y, x]
                wide, high = x2 - x1 + 1, y2 - y1 + 1
                cx, cy = x1 + x * stride + wide / 2 + dx * wide, y1 + y * stride + high / 2 + dy * high
                wide, high = wide * math.exp(dw), high * math.exp(dh)
                corners = [cx - wide / 2, cy - high / 2, cx + wide / 2, cy + high / 2]
                box = [min(max(c, 0), image[1 - i % 2] - 1) for i, c in enumerate(corners)]
                scale = image[3] if len(image) > 3 else image[2]
                if box[2] - box[0] + 1 >= least * scale and box[3] - box[1] + 1 >= least * image[2]:
                    found.append((scores[len(anchors) + a, y, x], box))
    found.sort(key=lambda pair: -pair[0])
    found = found[:before]
    kept = suppressed([box for _, box in found], threshold, border=1)[:after]
    return np.array([found[k][1] for k in kept]), np.array([found[k][0] for k in kept])


def test_the_anchors_of_the_paper():
    case = build('type: "Proposal" proposal_param { nms_thresh: 1 }', [(1, 18, 51, 51), (1, 36, 51, 51), (1, 3)])
    case.bottom[2].data[...] = [1000, 1200, 1]
    case.bottom[0].data[0, 9:, 25, 26] = np.arange(9, 0, -1)
    (top,) = case.forward()
    moved = np.add(ANCHORS, [416, 400, 417, 401])  # a box's width is added to its first pixel: it ends one behind
    np.testing.assert_array_equal(top[:9], np.insert(moved, 0, 0, axis=1))


@pytest.mark.parametrize(
    ("text", "image", "options"),
    [
        ("min_size: 30", [90, 120, 1.0], {"before": 6000, "after": 300, "threshold": 0.7, "least": 30}),
        (
            "pre_nms_topn: 25 nms_thresh: 0.4",
            [100, 130, 1.5],
            {"before": 25, "after": 300, "threshold": 0.4, "least": 16},
        ),
        ("post_nms_topn: 4 min_size: 20", [90, 120, 1, 2], {"before": 6000, "after": 4, "threshold": 0.7, "least": 20}),
    ],
)
def test_definition(text, image, options):
    rng = np.random.default_rng(3)
    text = f"ratio: [0.5, 2] scale: [2, 4] feat_stride: 20 {text}"
    case = build(
        f'type: "Proposal" top: "rois" top: "scores" proposal_param {{ {text} }}',
        [(2, 8, 5, 6), (2, 16, 5, 6), (2, len(image))],
    )
    scores = rng.permutation(2 * 8 * 30).reshape(2, 8, 5, 6).astype(np.float32)
    deltas = rng.normal(0, 0.3, (2, 16, 5, 6)).astype(np.float32)
    for blob, value in zip(case.bottom, (scores, deltas, [image, image]), strict=True):
        blob.data[...] = value
    rois, of_rois = case.forward()
    anchors = []
    for ratio, (wide, high) in ((0.5, (23, 12)), (2, (11, 22))):
        assert ratio == pytest.approx(high / wide, rel=0.1)
        anchors += [
            [7.5 - (wide * s - 1) / 2, 7.5 - (high * s - 1) / 2, 7.5 + (wide * s - 1) / 2, 7.5 + (high * s - 1) / 2]
            for s in (2, 4)
        ]
    expected = [
        definition(*of_item, image, anchors, stride=20, **options) for of_item in zip(scores, deltas, strict=True)
    ]
    assert all(len(boxes) > 3 for boxes, _ in expected)
    np.testing.assert_array_equal(rois[:, 0], np.repeat([0, 1], [len(boxes) for boxes, _ in expected]))
    np.testing.assert_allclose(rois[:, 1:], np.concatenate([boxes for boxes, _ in expected]), 1e-4, 1e-3)
    np.testing.assert_array_equal(of_rois, np.concatenate([found for _, found in expected]))


def test_no_region_at_all():
    case = build(
        'type: "Proposal" top: "rois" top: "scores" proposal_param { min_size: 999 }',
        [(1, 18, 2, 3), (1, 36, 2, 3), (1, 3)],
    )
    case.bottom[2].data[...] = [60, 60, 1]
    assert [top.shape for top in case.forward()] == [(0, 5), (0,)]
    assert not any(case.layer.differentiable(i) for i in range(3))


@pytest.mark.parametrize(
    ("text", "shapes", "says"),
    [
        ("feat_stride: 0", [(1, 18, 2, 3), (1, 36, 2, 3), (1, 3)], "feat_stride: must be at least 1"),
        ("ratio: 0", [(1, 18, 2, 3), (1, 36, 2, 3), (1, 3)], r"must be numbers above 0, got \[0.0\] and"),
        ("scale: nan", [(1, 18, 2, 3), (1, 36, 2, 3), (1, 3)], r"must be numbers above 0, .* and \[nan\]"),
        ("ratio: inf", [(1, 18, 2, 3), (1, 36, 2, 3), (1, 3)], r"must be numbers above 0, got \[inf\] and"),
        (
            "ratio: 1",
            [(1, 18, 2, 3), (1, 36, 2, 3), (1, 3)],
            r"3 anchors need scores \(n, 6, h, w\) and deltas \(n, 12",
        ),
        ("", [(1, 18, 2, 3), (1, 36, 2, 2), (1, 3)], r"got \(1, 18, 2, 3\) and \(1, 36, 2, 2\)"),
        (
            "",
            [(2, 18, 2, 3), (2, 36, 2, 3), (1, 3)],
            r"'bottom2' has shape \(1, 3\); give height, width and scale of 2",
        ),
    ],
)
def test_errors(text, shapes, says):
    with pytest.raises(LayerError, match=says):
        build(f'type: "Proposal" proposal_param {{ {text} }}', shapes)
