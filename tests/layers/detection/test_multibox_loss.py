"""MultiBoxLoss against its definition, prior by prior, and its diffs against differences."""

import math

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.detection.detections import centre_size, corner, matched, suppressed
from tests.layers.runner import build, check_gradient, check_manners

ITEMS, PRIORS, CLASSES = 3, 16, 4
BACKGROUND = 0


def code_of(box, prior, variance, code_type):
    if code_type == "CORNER":
        return [(b - p) / v for b, p, v in zip(box, prior, variance, strict=True)]
    (wide, high), (w, h) = ((of[2] - of[0], of[3] - of[1]) for of in (box, prior))
    moves = ((box[0] + box[2] - prior[0] - prior[2]) / 2 / w, (box[1] + box[3] - prior[1] - prior[3]) / 2 / h)
    code = [*moves, math.log(wide / w), math.log(high / h)]
    return [c / v for c, v in zip(code, variance, strict=True)]


def area(box):
    return max(0, box[2] - box[0]) * max(0, box[3] - box[1])


def location_loss(code, goal, kind):
    differences = [abs(c - g) for c, g in zip(code, goal, strict=True)]
    if kind == "L2":
        return sum(d * d / 2 for d in differences)
    return sum(d * d / 2 if d < 1 else d - 0.5 for d in differences)


def class_loss(scores, label, kind):
    if kind == "LOGISTIC":
        return -sum(math.log(1 / (1 + math.exp(-x if c == label else x))) for c, x in enumerate(scores))
    return math.log(sum(math.exp(x) for x in scores)) - scores[label]


def definition(
    location, confidence, prior, objects, *, code="CORNER", loc="SMOOTH_L1", conf="SOFTMAX", mining="MAX_NEGATIVE",
    each=0.5, by_prior=True, shared=True, difficult=True, ratio=3, neg_overlap=0.5, sample=64, nms=None, weight=1.0,
    encoded=False, inside=False, crossing=False, agnostic=False, normalization="VALID", down=(True, True),
):  # fmt: skip
    boxes, variances = prior[0].reshape(2, PRIORS, 4).tolist()
    location = location.reshape(ITEMS, PRIORS, -1, 4).astype(float)
    confidence = confidence.reshape(ITEMS, PRIORS, CLASSES)[..., : 2 if agnostic else CLASSES].astype(float)
    box_of = {"CORNER": corner, "CENTER_SIZE": centre_size}[code]
    total, positives = [0.0, 0.0], 0

    def predicted(item, p, c=0):
        return box_of(location[item, p, c], boxes[p], (1,) * 4 if encoded else variances[p])

    def of_location(item, p, c, box):
        goal = code_of(box, boxes[p], variances[p], code)
        given = [x / v if encoded else x for x, v in zip(location[item, p, c], variances[p], strict=True)]
        if inside:
            corners = boxes[p] if by_prior else predicted(item, p, c)
            given = [x if 0 <= at <= 1 else g for x, at, g in zip(given, corners, goal, strict=True)]
        return location_loss(given, goal, loc)

    for item in range(ITEMS):
        of_item = [row for row in objects.tolist() if row[0] == item and (difficult or not row[7])]
        labels = [1 if agnostic else int(row[1]) for row in of_item]
        truth = [row[3:7] for row in of_item]
        found = {}  # (prior, class of location): object
        most, out = [0.0] * PRIORS, set()
        for c in range(1 if shared else CLASSES):
            if not by_prior and not shared and c == BACKGROUND:
                continue
            own = [g for g in range(len(truth)) if shared or by_prior or labels[g] == c]
            from_ = boxes if by_prior else [predicted(item, p, c) for p in range(PRIORS)]
            out = {p for p in range(PRIORS) if crossing and not all(0 <= x <= 1 for x in from_[p])}
            at = [p for p in range(PRIORS) if p not in out]
            index, overlaps = matched([from_[p] for p in at], [truth[g] for g in own], each)
            for p, g, size in zip(at, index, overlaps, strict=True):
                most[p] = size
                if g >= 0 and (shared or labels[own[g]] == c):
                    found[p, c] = own[g]
        label_of = {p: labels[g] for (p, _), g in sorted(found.items())}
        negatives = []
        if mining == "NONE":
            negatives = [p for p in range(PRIORS) if p not in label_of]
        elif truth:
            losses = {p: class_loss(confidence[item, p], label_of.get(p, BACKGROUND), conf) for p in range(PRIORS)}
            if mining == "HARD_EXAMPLE":
                for (p, c), g in found.items():
                    losses[p] += of_location(item, p, c, truth[g])
                order, number = list(range(PRIORS)), sample
            else:
                order = [p for p in range(PRIORS) if p not in label_of and p not in out and most[p] < neg_overlap]
                number = int(len(label_of) * ratio)
            order.sort(key=lambda p: -losses[p])
            if nms:
                order = [p for p in order if area(predicted(item, p)) >= 1e-5]
                order = [order[k] for k in suppressed([predicted(item, p) for p in order], nms)]
            negatives = [p for p in order[:number] if p not in label_of and p not in out]
            if mining == "HARD_EXAMPLE":
                found = {(p, c): g for (p, c), g in found.items() if p in order[:number]}
                label_of = {p: label for p, label in label_of.items() if p in order[:number]}
        positives += len(found)
        total[0] += sum(of_location(item, p, c, truth[g]) for (p, c), g in found.items())
        total[1] += sum(class_loss(confidence[item, p], label, conf) for p, label in label_of.items())
        nothing = -1 if conf == "LOGISTIC" and mining == "NONE" else BACKGROUND
        total[1] += sum(class_loss(confidence[item, p], nothing, conf) for p in negatives)
    normalizer = {"VALID": positives, "FULL": ITEMS * PRIORS, "BATCH_SIZE": ITEMS, "NONE": 1}[normalization]
    return (weight * total[0] * down[0] + total[1] * down[1]) / max(1, normalizer)


@pytest.fixture
def rng():
    return np.random.default_rng(21)


def bottoms(rng, loc_classes=1, classes=CLASSES):
    low = rng.uniform(-0.1, 0.6, (PRIORS, 2))
    prior = np.concatenate([low, low + rng.uniform(0.2, 0.5, (PRIORS, 2))], axis=1)
    objects = []
    for item, label, p, difficult in (
        (0, 1, 3, 0),
        (0, 3, 5, 0),
        (2, 2, 1, 1),
        (2, 3, 9, 0),
        (2, 1, 12, 0),
        (-1, 9, 0, 0),
    ):
        objects.append([item, label, 0, *(prior[p] + rng.normal(0, 0.02, 4)), difficult])
    return (
        rng.normal(0, 0.7, (ITEMS, PRIORS * loc_classes * 4)),
        rng.normal(0, 1, (ITEMS, PRIORS * classes)),
        np.stack([prior.ravel(), rng.uniform(0.1, 0.3, prior.size)])[None],
        np.array(objects)[None, None],
    )


def layer(text, values, classes=CLASSES, around=""):
    text += "" if "num_classes" in text else f" num_classes: {classes}"
    case = build(f'type: "MultiBoxLoss" multibox_loss_param {{ {text} }} {around}', [value.shape for value in values])
    for blob, value in zip(case.bottom, values, strict=True):
        blob.data[...] = value
    return case


CASES = {
    "as SSD": ("code_type: CENTER_SIZE do_neg_mining: true", {"code": "CENTER_SIZE"}),
    "bipartite": ("match_type: BIPARTITE neg_pos_ratio: 1.5", {"each": None, "ratio": 1.5}),
    "L2, logistic": (
        "loc_loss_type: L2 conf_loss_type: LOGISTIC loc_weight: 2 neg_overlap: 0.2 overlap_threshold: 0.3",
        {"loc": "L2", "conf": "LOGISTIC", "weight": 2, "neg_overlap": 0.2, "each": 0.3},
    ),
    "no mining": ("mining_type: NONE use_difficult_gt: false", {"mining": "NONE", "difficult": False}),
    "no mining, logistic": ("do_neg_mining: false conf_loss_type: LOGISTIC", {"mining": "NONE", "conf": "LOGISTIC"}),
    "hard examples": ("mining_type: HARD_EXAMPLE sample_size: 6", {"mining": "HARD_EXAMPLE", "sample": 6}),
    "hard examples, suppressed": (
        "mining_type: HARD_EXAMPLE sample_size: 7 nms_param { nms_threshold: 0.3 } ignore_cross_boundary_bbox: true",
        {"mining": "HARD_EXAMPLE", "sample": 7, "nms": 0.3, "crossing": True},
    ),
    "a location for each class": ("mining_type: NONE share_location: false", {"mining": "NONE", "shared": False}),
    "each class's locations matched": (
        "mining_type: NONE share_location: false use_prior_for_matching: false overlap_threshold: 0.2",
        {"mining": "NONE", "shared": False, "by_prior": False, "each": 0.2},
    ),
    "locations matched, inside": (
        "use_prior_for_matching: false bp_inside: true",
        {"by_prior": False, "inside": True},
    ),
    "variance in the target, inside": (
        "encode_variance_in_target: true bp_inside: true ignore_cross_boundary_bbox: true",
        {"encoded": True, "inside": True, "crossing": True},
    ),
    "agnostic": ("map_object_to_agnostic: true", {"agnostic": True}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_definition_and_gradient(rng, name):
    text, options = CASES[name]
    classes = 2 if options.get("agnostic") else CLASSES
    values = bottoms(rng, 1 if options.get("shared", True) else CLASSES, classes)
    wide = np.pad(values[1].reshape(ITEMS, PRIORS, classes), ((0, 0), (0, 0), (0, CLASSES - classes)))
    case = layer(text, values, classes)
    expected = definition(values[0], wide, values[2], values[3][0, 0], **options)
    np.testing.assert_allclose(case.forward()[0], expected, 1e-4)
    for index in (0, 1):
        check_gradient(case, index, rng, step=1e-3)
    check_manners(case, rng)
    assert [case.layer.differentiable(i) for i in range(4)] == [True, True, False, False]


@pytest.mark.parametrize("normalization", ["VALID", "FULL", "BATCH_SIZE", "NONE"])
@pytest.mark.parametrize("down", [(True, False), (False, True)])
def test_normalizers_and_halves(rng, normalization, down):
    around = f"loss_param {{ normalization: {normalization} }} " + " ".join(
        f"propagate_down: {x}".lower() for x in down
    )
    values = bottoms(rng)
    case = layer("", values, around=around)
    expected = definition(*values[:3], values[3][0, 0], normalization=normalization, down=down)
    np.testing.assert_allclose(case.forward()[0], expected, 1e-4)
    for index in (0, 1):
        check_gradient(case, index, rng, step=1e-3)


@pytest.mark.parametrize("mining", ["MAX_NEGATIVE", "NONE"])
def test_no_objects(rng, mining):
    values = bottoms(rng)
    values[3][..., 0] = -1
    case = layer(f"mining_type: {mining}", values)
    expected = definition(*values[:3], values[3][0, 0], mining=mining)
    np.testing.assert_allclose(case.forward()[0], expected, 1e-5)
    case.top[0].diff[...] = 1
    location, score = case.backward()[:2]
    assert not location.any()
    assert score.any() == (mining == "NONE")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("num_classes: 0", "num_classes: 0 must be above background_label_id: 0"),
        ("num_classes: 3 background_label_id: 3", "num_classes: 3 must be above background_label_id: 3"),
        ("do_neg_mining: false mining_type: HARD_EXAMPLE", "do_neg_mining and mining_type contradict each other"),
        ("share_location: false", "mining needs share_location: true; give that, or mining_type: NONE"),
        ("sample_size: 0", "sample_size: 0 must be at least 1"),
        ("map_object_to_agnostic: true", "map_object_to_agnostic needs num_classes: 2, object or not, got 4"),
    ],
)
def test_errors(rng, text, says):
    with pytest.raises(LayerError, match=says):
        layer(text, bottoms(rng))


@pytest.mark.parametrize(("column", "value"), [(0, 3), (0, -2), (1, 0), (1, 4), (1, -1), (1, np.nan)])
def test_objects_that_cannot_be(rng, column, value):
    values = bottoms(rng)
    values[3][0, 0, 4, column] = value
    with pytest.raises(LayerError, match=r"object 4 of bottom 'bottom3' is of item .* of which 0"):
        layer("", values).forward()


def test_shapes_of_objects(rng):
    with pytest.raises(LayerError, match=r"'bottom3' must have 8 numbers for each object, got \(1, 1, 6, 7\)"):
        layer("", (*bottoms(rng)[:3], np.zeros((1, 1, 6, 7))))
