"""Overlaps, suppression, matching and codes of boxes, each against one box after the other."""

import numpy as np
import pytest

from caffepy.layers.detection.boxes import areas, decode, encode, match, overlaps, suppress
from caffepy.proto.caffe_pb2 import PriorBoxParameter
from tests.layers.detection.detections import centre_size, corner, corner_size, matched, overlap, suppressed


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def some_boxes(rng, number, size=1.0):
    corner = rng.uniform(0, size, (number, 2))
    return np.concatenate([corner, corner + rng.uniform(0.05, 0.6, (number, 2)) * size], axis=1).astype(np.float32)


def test_overlaps_of_boxes_by_hand():
    a, b = np.float32([0, 0, 2, 2]), np.float32([1, 1, 3, 4])
    assert overlaps(a, b) == pytest.approx(1 / (4 + 6 - 1))
    assert overlaps(a, b, 1) == pytest.approx(4 / (9 + 12 - 4))
    apart, flat, inside_out = np.float32([[5, 5, 6, 6], [1, 1, 1, 3], [2, 2, 0, 0]])
    assert [float(overlaps(a, other)) for other in (apart, flat, inside_out)] == [0, 0, 0]
    assert float(overlaps(flat, flat)) == 0
    assert areas(np.stack([a, b, inside_out])).tolist() == [4, 6, 0]


def test_overlaps_broadcast(rng):
    first, second = some_boxes(rng, 5), some_boxes(rng, 7)
    expected = [[overlap(a, b) for b in second] for a in first]
    np.testing.assert_allclose(overlaps(first[:, None], second), expected, 1e-5, 1e-6)


@pytest.mark.parametrize(
    ("threshold", "eta", "border"), [(0.3, 1, 0), (0.9, 0.8, 0), (0.4, 0.5, 0), (0.4, 1, 1), (0, 1, 0)]
)
def test_suppression(rng, threshold, eta, border):
    boxes = some_boxes(rng, 120, 60 if border else 1)
    expected = suppressed(boxes, threshold, eta, border)
    assert 1 < len(expected) < 120
    assert suppress(boxes, threshold, eta=eta, border=border).tolist() == expected
    assert suppress(boxes, threshold, eta=eta, border=border, most=3).tolist() == expected[:3]


def test_suppression_of_none():
    assert suppress(np.empty((0, 4), np.float32), 0.5).tolist() == []


def test_an_infinite_box_raises_no_warning():
    assert suppress(np.float32([[-np.inf, 0, np.inf, 1], [0, 0, 1, 1]]), 0.5).tolist() == [0, 1]


@pytest.mark.parametrize("each", [None, 0.3, 0.6])
@pytest.mark.parametrize("objects", [0, 1, 6, 30])
def test_matching(rng, each, objects):
    priors, truth = some_boxes(rng, 20), some_boxes(rng, objects)
    found, most = match(priors, truth, each=each)
    expected = matched(priors, truth, each)
    assert found.tolist() == expected[0]
    np.testing.assert_allclose(most, expected[1], 1e-4, 1e-6)


def test_the_better_of_two_objects_takes_the_prior_and_the_other_the_next():
    priors = np.float32([[0, 0, 4, 4], [0, 0, 4, 6], [9, 9, 10, 10]])
    objects = np.float32([[0, 0, 4, 5], [0, 0, 4, 4.5]])
    assert match(priors, objects, each=None)[0].tolist() == [1, 0, -1]


CODES = {"CORNER": corner, "CORNER_SIZE": corner_size, "CENTER_SIZE": centre_size}


@pytest.mark.parametrize("name", CODES)
def test_codes(rng, name):
    code_type = PriorBoxParameter.CodeType.Value(name)
    codes, priors = rng.normal(0, 2, (9, 4)).astype(np.float32), some_boxes(rng, 9)
    variances = rng.uniform(0.1, 0.3, (9, 4)).astype(np.float32)
    expected = [CODES[name](*given) for given in zip(codes, priors, variances, strict=True)]
    boxes = decode(codes, priors, variances, code_type)
    np.testing.assert_allclose(boxes, expected, 1e-4, 1e-5)
    np.testing.assert_allclose(decode(codes * variances, priors, np.float32(1), code_type), expected, 1e-4, 1e-5)
    np.testing.assert_allclose(encode(boxes, priors, variances, code_type), codes, 1e-3, 1e-3)
