"""DetectionOutput against its definition, prior by prior."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.detection.detections import centre_size, corner, corner_size, suppressed
from tests.layers.runner import build

CODES = {"CORNER": corner, "CORNER_SIZE": corner_size, "CENTER_SIZE": centre_size}
ITEMS, PRIORS, CLASSES = 3, 14, 4


def definition(
    location, confidence, prior, code, *, background=0, shared=True, encoded=False, above=None, top_k=None,
    nms=0.3, eta=1.0, keep=-1,
):  # fmt: skip
    rows = []
    for item in range(len(location)):
        found = []
        for label in range(CLASSES):
            if label == background:
                continue
            candidates = []
            for p in range(PRIORS):
                score = confidence[item].reshape(PRIORS, CLASSES)[p, label]
                if above is None or score > above:
                    codes = location[item].reshape(PRIORS, -1, 4)[p, 0 if shared else label]
                    box, variance = prior[0].reshape(2, PRIORS, 4)[:, p]
                    candidates.append((score, code(codes, box, (1,) * 4 if encoded else variance)))
            candidates.sort(key=lambda found: -found[0])
            candidates = candidates[:top_k]
            for k in suppressed([box for _, box in candidates], nms, eta):
                found.append([item, label, candidates[k][0], *candidates[k][1]])
        if keep >= 0:
            best = sorted(found, key=lambda row: -row[2])[:keep]
            found = [row for row in found if row in best]
        rows += found
    return np.array(rows)


@pytest.fixture
def bottoms():
    rng = np.random.default_rng(11)
    low = rng.uniform(0, 0.6, (PRIORS, 2))
    prior = np.concatenate([low, low + rng.uniform(0.2, 0.5, (PRIORS, 2))], axis=1)
    return (
        rng.normal(0, 0.5, (ITEMS, PRIORS * CLASSES * 4)).astype(np.float32),
        rng.permutation(ITEMS * PRIORS * CLASSES).reshape(ITEMS, -1).astype(np.float32) / (ITEMS * PRIORS * CLASSES),
        np.stack([prior.ravel(), rng.uniform(0.1, 0.3, prior.size)])[None].astype(np.float32),
    )


def layer(text, bottoms):
    case = build(
        f'type: "DetectionOutput" detection_output_param {{ num_classes: {CLASSES} {text} }}',
        [bottom.shape for bottom in bottoms],
    )
    for blob, value in zip(case.bottom, bottoms, strict=True):
        blob.data[...] = value
    return case


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", {}),
        ("confidence_threshold: 0.4 nms_param { nms_threshold: 0.6 top_k: 5 }", {"above": 0.4, "nms": 0.6, "top_k": 5}),
        ("nms_param { nms_threshold: 0.9 eta: 0.7 } background_label_id: 2", {"nms": 0.9, "eta": 0.7, "background": 2}),
        ("keep_top_k: 6 background_label_id: -1", {"keep": 6, "background": -1}),
        ("keep_top_k: 0 confidence_threshold: 2", None),
        ("share_location: false variance_encoded_in_target: true", {"shared": False, "encoded": True}),
    ],
)
def test_definition(bottoms, code, text, options):
    location, confidence, prior = bottoms
    if options is None or options.get("shared", True):
        location = np.ascontiguousarray(location[:, : PRIORS * 4])
    (top,) = layer(f"code_type: {code} {text}", (location, confidence, prior)).forward()
    if options is None:
        expected = np.array([[item, -1, -1, -1, -1, -1, -1] for item in range(ITEMS)])
    else:
        expected = definition(location, confidence, prior, CODES[code], **options)
    assert top.shape == (1, 1, len(expected), 7)
    np.testing.assert_allclose(top[0, 0], expected, 1e-4, 1e-5)


def test_an_item_without_detections_has_no_row(bottoms):
    location, confidence, prior = bottoms
    confidence[1] = 0
    location = np.ascontiguousarray(location[:, : PRIORS * 4])
    (top,) = layer("confidence_threshold: 0.5", (location, confidence, prior)).forward()
    assert set(top[0, 0, :, 0]) == {0, 2}


def test_refined_priors_and_objectness(bottoms):
    location, confidence, prior = bottoms
    location, moves = location[:, : PRIORS * 4].copy(), location[:, PRIORS * 4 : PRIORS * 8].copy()
    objectness = np.random.default_rng(2).uniform(size=(ITEMS, PRIORS * 2)).astype(np.float32)
    text = "code_type: CENTER_SIZE confidence_threshold: 0.3 objectness_score: 0.4"
    (top,) = layer(text, (location, confidence, prior, objectness, moves)).forward()
    expected = []
    for item in range(ITEMS):
        boxes, variances = prior[0].reshape(2, PRIORS, 4)
        moved = [centre_size(*given) for given in zip(moves[item].reshape(-1, 4), boxes, variances, strict=True)]
        scores = confidence[item].reshape(PRIORS, CLASSES).copy()
        scores[objectness[item].reshape(-1, 2)[:, 1] < 0.4] = 0
        refined = np.stack([np.ravel(moved), variances.ravel()])[None]
        rows = definition(location[item : item + 1], scores.reshape(1, -1), refined, centre_size, above=0.3)
        expected += [[item, *row[1:]] for row in rows]
    np.testing.assert_allclose(top[0, 0], expected, 1e-4, 1e-5)


def test_without_objectness_score_a_fourth_bottom_goes_unused(bottoms):
    location, confidence, prior = bottoms
    given = location[:, : PRIORS * 4], confidence, prior
    image = np.zeros((ITEMS, 3, 8, 8), np.float32)
    (top,) = layer("", given).forward()
    np.testing.assert_array_equal(layer("visualize: true", (*given, image)).forward()[0], top)


def test_nan_confidences_are_never_detected(bottoms):
    location, confidence, prior = bottoms
    case = layer("confidence_threshold: 0", (location[:, : PRIORS * 4], np.full_like(confidence, np.nan), prior))
    assert (case.forward()[0][0, 0, :, 1] == -1).all()
    assert not any(case.layer.differentiable(i) for i in range(3))


@pytest.mark.parametrize(
    ("text", "shapes", "says"),
    [
        ("", [(2, 8), (2, 6), (1, 2, 8)], "give num_classes, at least 1"),
        ("num_classes: 3 nms_param { nms_threshold: -1 }", [(2, 8), (2, 6), (1, 2, 8)], "nms_threshold: -1 must be"),
        ("num_classes: 3 nms_param { eta: 1.5 }", [(2, 8), (2, 6), (1, 2, 8)], "eta: 1.5 above 0 and at most 1"),
        ("num_classes: 3", [(2, 8), (2, 6), (1, 8)], r"'bottom2' must have shape \(1, 2, 4 for each prior\)"),
        ("num_classes: 3", [(2, 9), (2, 6), (1, 2, 8)], r"'bottom0' has shape \(2, 9\); 2 priors need 8 numbers"),
        ("num_classes: 3", [(2, 8), (3, 6), (1, 2, 8)], r"'bottom1' has shape \(3, 6\); 2 priors need 6 numbers"),
        ("num_classes: 3 share_location: false", [(2, 8), (2, 6), (1, 2, 8)], "need 24 numbers, 12 each"),
        (
            "num_classes: 3 objectness_score: 0.1",
            [(2, 8), (2, 6), (1, 2, 8), (2, 2)],
            r"'bottom3' has shape \(2, 2\); it must have 2 numbers",
        ),
    ],
)
def test_errors(text, shapes, says):
    with pytest.raises(LayerError, match=says):
        build(f'type: "DetectionOutput" detection_output_param {{ {text} }}', shapes)
