"""BoxOutput and DecodeBBox, box by box from their definitions."""

import math

import numpy as np
import pytest

from caffepy.errors import LayerError
from caffepy.proto.caffe_pb2 import TEST, TRAIN
from tests.layers.runner import build

SHAPES = [(2, 7, 4, 5), (2, 7, 2, 3)]
FIELDS = "field_w: 30 field_w: 60 field_h: 24 field_h: 50 downsample_rate: 8 downsample_rate: 16"
NORMALISED = "bbox_reg_param { " + " ".join(
    f"bbox_mean: {m} bbox_std: {s}" for m, s in zip((0, 0.1, 0, 0.2), (0.1, 0.2, 0.3, 0.2), strict=True)
)
NORMALISED += " }"


def boxes_of(maps, item, fg_thr, whr, xyr, least, mean, deviation):
    found = []
    for values, (wide, high), rate in zip(maps, ((30, 24), (60, 50)), (8, 16), strict=True):
        _, channels, height, width = values.shape
        for y, x in np.ndindex(height, width):
            scores = values[item, : channels - 4, y, x]
            score = max(scores[1:]) - scores[0]
            code = values[item, channels - 4 :, y, x] * deviation + mean
            move = np.clip(code[:2], -1 / xyr, 1 / xyr)
            most = math.log(whr)
            w, h = (f * math.exp(np.clip(c, -most, most)) for f, c in zip((wide, high), code[2:], strict=True))
            left = max(move[0] * wide + (x + 0.5) * rate - w / 2, 0)
            top = max(move[1] * high + (y + 0.5) * rate - h / 2, 0)
            w, h = min(w, width * rate - left), min(h, height * rate - top)
            if score >= fg_thr and min(w, h) >= least:
                found.append((score, left, top, left + w, top + h))
    return sorted(found, key=lambda box: -box[0])


def overlap(a, b, smaller):
    w, h = (min(a[i + 2], b[i + 2]) - max(a[i], b[i]) for i in (1, 2))
    if w <= 0 or h <= 0:
        return 0
    areas = [(box[3] - box[1]) * (box[4] - box[2]) for box in (a, b)]
    return w * h / (min(areas) if smaller else sum(areas) - w * h)


def kept(boxes, threshold, smaller, first, most):
    stay = []
    for box in boxes[: first or None]:
        if all(overlap(box, other, smaller) <= threshold for other in stay):
            stay.append(box)
    return stay[: most or None]


@pytest.mark.parametrize(
    ("settings", "more", "numbers"),
    [
        ("min_size: 2 iou_thr: 0.3", "", (0, 2, 2, 2, 0.3, False, 0, 0)),
        ("min_size: 18 fg_thr: -1 field_whr: 1.5 field_xyr: 3", "", (-1, 1.5, 3, 18, 0.5, False, 0, 0)),
        (
            "nms_type: 'IOMU' iou_thr: 0.6 max_nms_num: 7 max_post_nms_num: 3",
            NORMALISED,
            (0, 2, 2, 15, 0.6, True, 7, 3),
        ),
    ],
)
def test_box_output(settings, more, numbers):
    fg_thr, whr, xyr, least, threshold, smaller, first, most = numbers
    rng = np.random.default_rng(4)
    case = build(f'type: "BoxOutput" top: "r" top: "s" box_output_param {{ {FIELDS} {settings} }} {more}', SHAPES)
    for blob in case.bottom:
        blob.data[...] = rng.standard_normal(blob.shape)
    regions, scores = case.forward()
    maps = [blob.data.astype(np.float64) for blob in case.bottom]
    mean, deviation = (np.array((0, 0.1, 0, 0.2)), np.array((0.1, 0.2, 0.3, 0.2))) if more else (0, 1)
    expected = []
    for item in range(2):
        boxes = boxes_of(maps, item, fg_thr, whr, xyr, least, mean, deviation)
        expected += [[item, *box[1:], box[0]] for box in kept(boxes, threshold, smaller, first, most)]
    assert len(expected) > 2
    assert regions.shape == (len(expected), 5, 1, 1)
    np.testing.assert_allclose(scores.reshape(-1, 6), expected, 1e-4, 1e-3)
    np.testing.assert_array_equal(scores[:, :5], regions)


def test_nothing_found():
    case = build(f'type: "BoxOutput" top: "r" top: "s" box_output_param {{ {FIELDS} fg_thr: 9 }}', SHAPES)
    regions, scores = case.forward()
    assert regions.ravel().tolist() == [0, 1, 1, 10, 10]
    assert scores.ravel().tolist() == [0] * 6


def test_of_equal_scores_the_last_comes_first():
    case = build(
        'type: "BoxOutput" box_output_param { field_w: 8 field_h: 8 downsample_rate: 16 min_size: 1 }', [(1, 6, 1, 3)]
    )
    case.bottom[0].data[0, 1] = 1
    assert case.forward()[0][:, 1].ravel().tolist() == [36, 20, 4]


@pytest.mark.parametrize(
    ("text", "shapes", "says"),
    [
        ("field_w: 3 field_h: 3", SHAPES[:1], r"give 1 field_w, field_h and downsample_rate, got \(1, 1, 0\)"),
        (f"{FIELDS} nms_type: 'MAX'", SHAPES, "nms_type: 'MAX' must be 'IOU' or 'IOMU'"),
        (f"{FIELDS} field_whr: 0.5", SHAPES, "field_whr: 0.5 must be at least 1"),
        (FIELDS, [SHAPES[0], (2, 8, 2, 3)], "as many items and channels each"),
    ],
)
def test_errors(text, shapes, says):
    with pytest.raises(LayerError, match=says):
        build(f'type: "BoxOutput" box_output_param {{ {text} }}', shapes)
    with pytest.raises(LayerError, match="give 4 bbox_mean and 4 bbox_std, got 1 and 2"):
        build('type: "DecodeBBox" bbox_reg_param { bbox_mean: 1 bbox_std: 1 bbox_std: 1 }', [(2, 8), (2, 5)])


def decoded(codes, regions, mean=0, deviation=1):
    rows = []
    for code, (item, x1, y1, x2, y2) in zip(codes.astype(np.float64), regions.astype(np.float64), strict=True):
        x, y, w, h = code[4:] * deviation + mean
        wide, high = x2 - x1 + 1, y2 - y1 + 1
        new_wide, new_high = wide * math.exp(w), high * math.exp(h)
        left = (x1 + x2) / 2 + x * wide - (new_wide - 1) / 2
        top = (y1 + y2) / 2 + y * high - (new_high - 1) / 2
        rows.append([item, left, top, left + new_wide - 1, top + new_high - 1])
    return np.array(rows)


@pytest.mark.parametrize("more", ["", NORMALISED])
@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_decode_bbox(phase, more):
    rng = np.random.default_rng(5)
    codes = rng.standard_normal((6, 8)).astype(np.float32)
    regions = np.array([[i, 10 * i, 5, 10 * i + 20, 40] for i in range(6)], np.float32)
    codes[2, 6] = -9  # as narrow as nothing
    case = build(f'type: "DecodeBBox" {more}', [(6, 8), (6, 5, 1, 1)], phase)
    case.bottom[0].data[...], case.bottom[1].data[...] = codes, regions.reshape(6, 5, 1, 1)
    found = case.forward()[0]
    mean, deviation = (np.array((0, 0.1, 0, 0.2)), np.array((0.1, 0.2, 0.3, 0.2))) if more else (0, 1)
    expected = decoded(codes, regions, mean, deviation)
    if phase == TRAIN:
        expected = np.array([row for row in expected if row[1] <= row[3] and row[2] <= row[4]])
    assert found.shape == (len(expected), 5, 1, 1)
    np.testing.assert_allclose(found.reshape(-1, 5), expected, 1e-4, 1e-3)


def test_regions_that_are_their_objects_are_left_out():
    case = build('type: "DecodeBBox" decode_bbox_param { gt_iou_thr: 0.9 }', [(3, 8), (3, 5), (3, 6)], TRAIN)
    case.bottom[1].data[...] = [[0, 1, 1, 5, 5], [0, 2, 2, 6, 6], [0, 3, 3, 7, 7]]
    case.bottom[2].data[:, 5] = [0.5, 0.95, 0.89]
    assert case.forward()[0][:, 1].ravel().tolist() == [1, 3]
    case.bottom[2].data[:, 5] = 1
    with pytest.raises(LayerError, match="none of 3 regions is left"):
        case.forward()
    with pytest.raises(LayerError, match="a third bottom is for training only"):
        build('type: "DecodeBBox"', [(3, 8), (3, 5), (3, 6)], TEST)
