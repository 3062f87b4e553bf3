"""SegAccuracy against counting pixel by pixel."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.runner import build


def count(pairs, classes):
    """(share of hits, mean over the classes that occur, mean intersection over union) of (label, best class) pairs."""
    hits = sum(label == best for label, best in pairs)
    recalls, overlaps = [], []
    for c in range(classes):
        both = sum(label == c and best == c for label, best in pairs)
        occurs = sum(label == c for label, _ in pairs)
        either = sum(c in pair for pair in pairs)
        if occurs:
            recalls.append(both / occurs)
        overlaps.append(both / either if either else 1)
    return hits / len(pairs), np.mean(recalls), np.mean(overlaps)


def draw(case, rng):
    """Scores and labels of which class 4 never occurs and never is best; the pairs that count."""
    scores, labels = case.bottom
    scores.data[...] = rng.standard_normal(scores.shape).round(1)  # ties
    scores.data[:, 4] = -9
    labels.data[...] = rng.choice([0, 1, 2, 3, 255, -1], labels.shape)
    best = [max(range(5), key=lambda c: (scores.data[n, c, y, x], c)) for n, y, x in np.ndindex(2, 3, 4)]
    return [(int(label), b) for label, b in zip(labels.data.ravel(), best, strict=True) if label not in (255, -1)]


@pytest.mark.parametrize("reset", [True, False])
def test_shares(reset):
    text = f"ignore_label: 255 ignore_label: -1 reset: {reset}".lower()
    case = build(f'type: "SegAccuracy" seg_accuracy_param {{ {text} }}', [(2, 5, 3, 4), (2, 1, 3, 4)])
    rng = np.random.default_rng(0)
    before = draw(case, rng)
    case.forward()
    pairs = draw(case, rng)
    (top,) = case.forward()
    assert top.shape == (1, 1, 1, 3)
    np.testing.assert_allclose(top.ravel(), count(pairs if reset else before + pairs, 5), 1e-6)
    assert not any(map(case.layer.differentiable, range(2)))


def test_without_labels_that_count():
    case = build('type: "SegAccuracy" seg_accuracy_param { ignore_label: 0 }', [(1, 2, 1, 1), (1, 1, 1, 1)])
    assert case.forward()[0].ravel().tolist() == [0, 0, 1]


def test_a_bad_label_is_told():
    case = build('type: "SegAccuracy" seg_accuracy_param { ignore_label: 255 }', [(1, 3, 2, 2), (1, 1, 2, 2)])
    case.bottom[1].data[...] = [[[[255, 2], [3, 4]]]]
    with pytest.raises(LayerError, match=r"label 3 at \(0, 0, 1, 0\) of bottom 'bottom1' is not one of the 3 classes"):
        case.forward()


def test_labels_for_other_scores():
    with pytest.raises(LayerError, match=r"shape \(2, 1, 3, 3\); labels for scores of shape .* must be \(2, 1, 3, 4\)"):
        build('type: "SegAccuracy"', [(2, 5, 3, 4), (2, 1, 3, 3)])
