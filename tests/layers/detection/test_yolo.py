"""YoloDetectionOutput and Yolov3DetectionOutput against their definitions, box by box."""

import math

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.detection.detections import overlap
from tests.layers.runner import build


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def definition(maps, anchors, cells, version, above, threshold):
    """maps of one item (boxes * (5 + classes), h, w); anchors of each, and how many units a cell has."""
    found = []
    for values, sizes, cell in zip(maps, anchors, cells, strict=True):
        h, w = values.shape[1:]
        per_box = len(values) // len(sizes)
        for j in range(h):
            for i in range(w):
                for b, (wide, high) in enumerate(sizes):
                    x, y, tw, th, objectness, *classes = values[b * per_box : (b + 1) * per_box, j, i]
                    cx, cy = (i + sigmoid(x)) / w, (j + sigmoid(y)) / h
                    wide_, high_ = math.exp(tw) * wide / (w * cell), math.exp(th) * high / (h * cell)
                    box = [cx - wide_ / 2, cy - high_ / 2, cx + wide_ / 2, cy + high_ / 2]
                    if version == 2:
                        total = sum(math.exp(c) for c in classes)
                        best = int(np.argmax(classes))
                        confidence = sigmoid(objectness) * math.exp(classes[best]) / total
                        found += [[best + 1, confidence, *box]] if confidence >= above else []
                    else:
                        for label, c in enumerate(classes):
                            if (confidence := sigmoid(objectness) * sigmoid(c)) > above:
                                found.append([label + 1, confidence, *box])
    found.sort(key=lambda row: -row[1])
    kept = []
    for row in found:
        if all(overlap(row[2:], other[2:]) < threshold for other in kept):
            kept.append(row)
    return kept


def check(case, maps, anchors, cells, version, above, threshold):
    for blob, value in zip(case.bottom, maps, strict=True):
        blob.data[...] = value
    (top,) = case.forward()
    expected = []
    for item in range(len(maps[0])):
        rows = definition([m[item] for m in maps], anchors, cells, version, above, threshold)
        assert len(rows) > 2
        expected += [[item, *row] for row in rows]
    assert top.shape == (1, 1, len(expected), 7)
    np.testing.assert_allclose(top[0, 0], expected, 1e-4, 1e-5)


V2 = "num_classes: 3 num_box: 2 biases: [1, 2, 2.5, 1.5]"


@pytest.mark.parametrize("maps", [1, 2])
def test_version_2(maps):
    rng = np.random.default_rng(8)
    values = [rng.normal(0, 1, (2, 16, 4 + k, 5 + k)).astype(np.float32) for k in range(maps)]
    case = build(
        f'type: "YoloDetectionOutput" yolo_detection_output_param {{ {V2} confidence_threshold: 0.3 }}',
        [v.shape for v in values],
    )
    check(case, values, [[(1, 2), (2.5, 1.5)]] * maps, [1] * maps, 2, 0.3, 0.45)


def test_version_3():
    rng = np.random.default_rng(9)
    values = [rng.normal(0, 1, (2, 16, *extent)).astype(np.float32) for extent in ((3, 4), (6, 8))]
    case = build(
        'type: "Yolov3DetectionOutput" yolov3_detection_output_param { num_classes: 3 num_box: 2 mask: [2, 3, 0, 1] '
        "confidence_threshold: 0.4 nms_threshold: 0.3 anchors_scale: [32, 16] "
        "biases: [10, 20, 25, 15, 30, 40, 50, 60] }",
        [v.shape for v in values],
    )
    check(case, values, [[(30, 40), (50, 60)], [(10, 20), (25, 15)]], [32, 16], 3, 0.4, 0.3)


def test_boxes_that_overlap_by_the_threshold_are_too_many():
    text = "num_classes: 1 num_box: 2 biases: [1, 1, 2, 1] confidence_threshold: 0.1"
    kept = []
    for threshold in (0.5, 0.6):
        case = build(
            f'type: "YoloDetectionOutput" yolo_detection_output_param {{ {text} nms_threshold: {threshold} }}',
            [(1, 12, 1, 1)],
        )
        case.bottom[0].data[...] = 0  # one box twice as wide as the other, around it
        kept.append(case.forward()[0].shape[2])
    assert kept == [1, 2]


def test_nothing_found():
    case = build(f'type: "YoloDetectionOutput" yolo_detection_output_param {{ {V2} }}', [(2, 16, 3, 3)])
    case.bottom[0].data[...] = -20
    (top,) = case.forward()
    np.testing.assert_array_equal(top[0, 0], [[0, -1, -1, -1, -1, -1, -1], [1, -1, -1, -1, -1, -1, -1]])
    case.bottom[0].data[...] = 1e9  # infinite boxes
    assert case.forward()[0].shape[3] == 7


@pytest.mark.parametrize(
    ("text", "shapes", "says"),
    [
        (
            "Yolo num_classes: 0 coords: 5",
            [(1, 6, 2, 2)],
            "num_classes: 0 and num_box: 5 must be at least 1, coords: 5 must be 4",
        ),
        ("Yolo num_classes: 3 biases: [1, 2, 3]", [(1, 40, 2, 2)], "biases: 3 numbers; give the width and the"),
        (f"Yolo {V2}", [(1, 15, 2, 2)], r"has shape \(1, 15, 2, 2\); 2 boxes of 5 numbers and 3 classes need"),
        (f"Yolo {V2}", [(1, 16, 2, 2), (2, 16, 2, 2)], r"'bottom1' has shape \(2, 16, 2, 2\)"),
        ("Yolov3 num_box: 0", [(1, 6, 2, 2)], "num_classes: 20 and num_box: 0 must be at least 1"),
        ("Yolov3 mask: [1, 2]", [(1, 6, 2, 2)], "1 bottoms need mask_group_num: 1, 1 anchors_scale and 3 mask"),
        (
            "Yolov3 mask: [0, 1, 2] mask_group_num: 1 anchors_scale: 0",
            [(1, 75, 2, 2)],
            r"anchors_scale: must be at least 1, got \[0\]",
        ),
        (
            "Yolov3 mask: [0, 1, 4] mask_group_num: 1 anchors_scale: 8 biases: [1, 2]",
            [(1, 75, 2, 2)],
            "biases: 2 numbers; give the width and the height of 5 anchors, 10 or more",
        ),
    ],
)
def test_errors(text, shapes, says):
    kind, text = text.split(" ", 1)
    with pytest.raises(LayerError, match=says):
        build(f'type: "{kind}DetectionOutput" {kind.lower()}_detection_output_param {{ {text} }}', shapes)
