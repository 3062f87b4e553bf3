"""DetectionEvaluate against its definition, detection by detection."""

import numpy as np
import pytest

from caffepy.errors import CaffeError, LayerError
from tests.layers.detection.detections import overlap
from tests.layers.runner import build

CLASSES, BACKGROUND = 4, 0


def definition(found, objects, difficult=True, threshold=0.5, sizes=None):
    objects = [row for row in objects.tolist() if row[0] != -1]
    rows = []
    for label in range(1, CLASSES):
        number = sum(row[1] == label and (difficult or not row[7]) for row in objects)
        rows.append([-1, label, number, -1, -1])
    for turn, item in enumerate(sorted({row[0] for row in found.tolist() if row[0] != -1})):
        width, height = sizes[turn % len(sizes)] if sizes else (1, 1)
        for label in sorted({row[1] for row in found.tolist() if row[0] == item}):
            there = [row for row in objects if row[:2] == [item, label]]
            of_label = [row for row in found.tolist() if row[:2] == [item, label]]
            if there:
                of_label.sort(key=lambda row: -row[2])
            seen = set()
            for row in of_label:
                true = false = 0
                scale = (width, height, width, height)
                box = [x * s for x, s in zip(row[3:], scale, strict=True)]
                shared = [
                    overlap(box, [x * s for x, s in zip(other[3:7], scale, strict=True)], 1 if sizes else 0)
                    for other in there
                ]
                if shared and max(shared) >= threshold:
                    best = int(np.argmax(shared))
                    if difficult or not there[best][7]:
                        true, false = (0, 1) if best in seen else (1, 0)
                        seen.add(best)
                else:
                    false = 1
                rows.append([item, label, row[2], true, false])
    rows += [[0] * 5] * (CLASSES - 1 + len(found) - len(rows))
    return np.array(rows)


@pytest.fixture
def bottoms():
    rng = np.random.default_rng(4)
    low = rng.uniform(0, 0.6, (9, 2))
    objects = np.zeros((9, 8), np.float32)
    objects[:, 0], objects[:, 1] = [0, 0, 0, 1, 1, 3, 3, -1, -1], [1, 1, 3, 2, 1, 1, 2, 0, 9]
    objects[:, 3:5], objects[:, 5:7], objects[:, 7] = low, low + rng.uniform(0.1, 0.3, (9, 2)), np.arange(9) % 3 == 1
    found = np.zeros((40, 7), np.float32)
    for row in found:
        near = objects[rng.integers(7)]
        row[:] = near[0], near[1], rng.uniform(), *(near[3:7] + rng.normal(0, 0.03, 4))
    found[30:, 1] = rng.integers(1, 4, 10)
    found[33, 0], found[34] = 2, [0, -1, -1, -1, -1, -1, -1]
    found[[2, 8], 0] = -1
    return found, objects


def layer(text, bottoms):
    case = build(
        f'type: "DetectionEvaluate" detection_evaluate_param {{ num_classes: {CLASSES} {text} }}',
        [(1, 1, *values.shape) for values in bottoms],
    )
    for blob, values in zip(case.bottom, bottoms, strict=True):
        blob.data[0, 0] = values
    return case


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", {}),
        ("evaluate_difficult_gt: false overlap_threshold: 0.4", {"difficult": False, "threshold": 0.4}),
    ],
)
def test_definition(bottoms, text, options):
    (top,) = layer(text, bottoms).forward()
    expected = definition(*bottoms, **options)
    assert 3 < expected[3:, 3].sum() < expected[3:, 4].sum()
    np.testing.assert_allclose(top[0, 0], expected, 1e-6)


def test_sizes_of_the_images_in_turn(bottoms, tmp_path):
    file = tmp_path / "sizes.txt"
    file.write_text("a 30 40\nb 8 5\n\nc 20 20\n", encoding="utf-8")
    case = layer(f'name_size_file: "{file}"', bottoms)
    sizes = [(40, 30), (5, 8), (20, 20)]
    for start in (0, 1, 2):  # four items have detections: a pass ends one size further
        expected = definition(*bottoms, sizes=sizes[start:] + sizes[:start])
        np.testing.assert_allclose(case.forward()[0][0, 0], expected, 1e-6)


def test_no_detections():
    bottoms = np.array([[0, -1, -1, -1, -1, -1, -1]]), np.array([[-1] * 8])
    (top,) = layer("", bottoms).forward()
    expected = [[-1, 1, 0, -1, -1], [-1, 2, 0, -1, -1], [-1, 3, 0, -1, -1], [0, -1, -1, 0, 1]]
    np.testing.assert_array_equal(top[0, 0], expected)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("overlap_threshold: 0", "overlap_threshold: 0 must be above 0"),
        ('name_size_file: "no/such/file"', "'no/such/file' cannot be opened .No such file"),
        ('name_size_file: "/dev/null"', "'/dev/null' is no regular file"),
    ],
)
def test_errors(bottoms, text, says):
    with pytest.raises(CaffeError, match=says):
        layer(text, bottoms).forward()


def test_objects_and_shapes_that_cannot_be(bottoms):
    found, objects = bottoms
    objects[2, 1] = 4
    with pytest.raises(LayerError, match=r"object 2 of .* item 0, label 4; there are the labels 0 to 3, of which 0 is"):
        layer("", (found, objects)).forward()
    with pytest.raises(LayerError, match=r"'bottom1' must be \(1, 1, rows, 8\), got \(1, 1, 9, 7\)"):
        layer("", (found, objects[:, :7]))
    with pytest.raises(LayerError, match="give num_classes, at least 1"):
        build('type: "DetectionEvaluate"', [(1, 1, 2, 7), (1, 1, 2, 8)])
