"""Accuracy against counting label by label."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.runner import build, fill


def count(scores, labels, top_k, ignored=None):
    """By class: how many labels count, and how many are hits. Scores (outer, c, inner), labels (outer, inner)."""
    counted, hits = np.zeros(scores.shape[1]), np.zeros(scores.shape[1])
    for o, i in np.ndindex(labels.shape):
        label = int(labels[o, i])
        if label != ignored:
            others = [s for c, s in enumerate(scores[o, :, i]) if c != label and s >= scores[o, label, i]]
            counted[label] += 1
            hits[label] += len(others) < top_k
    return counted, hits


@pytest.mark.parametrize("ignored", [None, 2])
@pytest.mark.parametrize("top_k", [1, 2])
@pytest.mark.parametrize(
    ("shape", "axis", "outer", "inner"), [((40, 6), 1, 40, 1), ((3, 6, 4, 5), 1, 3, 20), ((2, 3, 6), -1, 6, 1)]
)
def test_shares(shape, axis, outer, inner, top_k, ignored):
    rng = np.random.default_rng(1)
    ignore = "" if ignored is None else f"ignore_label: {ignored}"
    text = f'type: "Accuracy" top: "a" top: "c" accuracy_param {{ axis: {axis} top_k: {top_k} {ignore} }}'
    case = build(text, [shape, (outer * inner,)])
    fill(case, rng)
    case.bottom[0].data[...] = case.bottom[0].data.round(1)  # ties
    case.bottom[1].data[...] = rng.integers(0, 5, outer * inner)  # class 5 has none
    counted, hits = count(
        case.bottom[0].data.reshape(outer, 6, inner), case.bottom[1].data.reshape(outer, inner), top_k, ignored
    )
    accuracy, of_class = case.forward()
    np.testing.assert_allclose(accuracy, hits.sum() / counted.sum(), 1e-6)
    np.testing.assert_allclose(of_class, hits / counted.clip(1), 1e-6)
    assert of_class[5] == 0
    assert not any(map(case.layer.differentiable, range(2)))


def test_a_tie_is_no_hit_and_neither_is_a_nan():
    case = build('type: "Accuracy"', [(4, 2), (4,)])
    case.bottom[0].data[...] = [[1, 1], [np.nan, 0], [0, np.nan], [1, 0]]
    assert case.forward()[0] == 0.25


def test_without_labels_that_count_it_is_zero():
    case = build('type: "Accuracy" accuracy_param { ignore_label: 255 }', [(2, 3), (2,)])
    case.bottom[1].data[...] = 255
    assert case.forward()[0] == 0


def test_a_bad_label_is_told():
    case = build('type: "Accuracy" top: "a" top: "c" accuracy_param { ignore_label: 255 }', [(3, 5), (3, 1)])
    case.bottom[1].data[...] = [[255], [4], [5]]
    with pytest.raises(LayerError, match=r"label 5 at \(2, 0\) of bottom 'bottom1' is not one of the 5 classes 0 to 4"):
        case.forward()


@pytest.mark.parametrize(
    ("text", "shapes", "message"),
    [
        ("", [(4, 3), (5,)], r"'bottom1' has shape \(5,\), 5 labels; scores of shape \(4, 3\) .* axis 1 need 4"),
        ("top_k: 4", [(4, 3), (4,)], "top_k: 4 must be at least 1 and at most 3, the number of classes"),
        ("top_k: 0", [(4, 3), (4,)], "top_k: 0 must be"),
        ("axis: 2", [(4, 3), (4,)], "axis: 2 is outside"),
    ],
)
def test_messages(text, shapes, message):
    with pytest.raises(LayerError, match=message):
        build(f'type: "Accuracy" accuracy_param {{ {text} }}', shapes)
