"""MultiStageMeanfield against its definition, and the lattice against one built point by point."""

import itertools
import math

import numpy as np
import pytest

from caffepy.errors import LayerError
from caffepy.layers.segmentation.permutohedral import Lattice
from tests.layers.runner import build, check_gradient, check_manners, fill


def slow_filter(features, values):
    """Adams et al. 2010, sections 3 and 4, one feature at a time, the lattice's points in a dictionary."""
    d = features.shape[1]
    corners = []
    for feature in features.astype(np.float64):
        scaled = [f * math.sqrt(2 / 3) * (d + 1) / math.sqrt((i + 1) * (i + 2)) for i, f in enumerate(feature)]
        elevated = [sum(scaled[j:]) - (j * scaled[j - 1] if j else 0) for j in range(d + 1)]
        near = [(d + 1) * round(e / (d + 1)) for e in elevated]
        distances = [e - r for e, r in zip(elevated, near, strict=True)]
        order = sorted(range(d + 1), key=lambda i: -distances[i])
        rank = [order.index(i) + sum(near) // (d + 1) for i in range(d + 1)]
        for i in range(d + 1):
            while rank[i] < 0:
                rank[i], near[i] = rank[i] + d + 1, near[i] + d + 1
            while rank[i] > d:
                rank[i], near[i] = rank[i] - d - 1, near[i] - d - 1
        ordered = sorted(((e - r) / (d + 1) for e, r in zip(elevated, near, strict=True)), reverse=True)
        weights = [1 - ordered[0] + ordered[-1]] + [ordered[d - k] - ordered[d - k + 1] for k in range(1, d + 1)]
        for k, weight in enumerate(weights):
            point = tuple(r + (k if rank[i] <= d - k else k - d - 1) for i, r in enumerate(near))
            assert sum(point) == 0
            corners.append((point, weight))
    held = {}
    for i, (point, weight) in enumerate(corners):
        held[point] = held.get(point, 0) + weight * values[:, i // (d + 1)]
    for axis in range(d + 1):
        move = [-1] * (d + 1)
        move[axis] = d
        held = {
            point: own
            + sum(held.get(tuple(p + s * m for p, m in zip(point, move, strict=True)), 0) for s in (1, -1)) / 2
            for point, own in held.items()
        }
    result = np.zeros(values.shape)
    for i, (point, weight) in enumerate(corners):
        result[:, i // (d + 1)] += weight * held[point] / (1 + 2**-d)
    return result


@pytest.mark.parametrize("d", [1, 2, 5])
def test_lattice(d):
    rng = np.random.default_rng(d)
    features, values = rng.normal(0, 2, (60, d)).astype(np.float32), rng.uniform(0, 1, (3, 60)).astype(np.float32)
    lattice = Lattice(features)
    np.testing.assert_allclose(lattice.filter(values), slow_filter(features, values), 1e-4, 1e-4)
    other = rng.uniform(0, 1, (3, 60)).astype(np.float32)
    np.testing.assert_allclose(
        (lattice.filter(values) * other).sum(), (lattice.filter(other, True) * values).sum(), 1e-5
    )


def test_lattice_is_about_a_gaussian():
    features = np.stack(np.meshgrid(np.arange(24), np.arange(24)), axis=-1).reshape(-1, 2).astype(np.float32) / 3
    image = np.random.default_rng(0).uniform(0, 1, (1, 576)).astype(np.float32)
    lattice, ones = Lattice(features), np.ones((1, 576), np.float32)
    gauss = np.exp(-((features[:, None] - features) ** 2).sum(axis=2) / 2)
    found, expected = lattice.filter(image) / lattice.filter(ones), image @ gauss / gauss.sum(axis=0)
    assert np.abs(found - expected).max() < 0.1 * np.ptp(image)
    assert np.corrcoef(found[0], expected[0])[0, 1] > 0.95


TEXT = """type: "MultiStageMeanfield" multi_stage_meanfield_param { num_iterations: 2 theta_alpha: 4 theta_beta: 1
          theta_gamma: 1.5 spatial_filter_weight: 3 bilateral_filter_weight: 5 }"""
SHAPES = [(2, 3, 4, 5)] * 3


def softmax(scores):
    powers = np.exp(scores - scores.max(axis=0))
    return powers / powers.sum(axis=0)


def test_iterations():
    case = build(TEXT, SHAPES)
    for blob, diagonal in zip(case.weights, (3, 5, -1), strict=True):
        np.testing.assert_array_equal(blob.data, diagonal * np.eye(3)[None, None])
    rng = np.random.default_rng(0)
    fill(case, rng)
    (top,) = case.forward()
    spatial, bilateral, compatibility = (blob.data[0, 0].astype(np.float64) for blob in case.weights)
    for n, found in enumerate(top):
        unary, scores, image = (blob.data[n].reshape(3, 20).astype(np.float64) for blob in case.bottom)
        places = np.array([(x, y) for y, x in itertools.product(range(4), range(5))])
        features = np.float32(places / 1.5), np.float32(np.concatenate([places / 4, image.T], axis=1))
        for _ in range(2):
            prob = softmax(scores)
            means = [slow_filter(f, prob) / slow_filter(f, np.ones((1, 20))) for f in features]
            scores = unary - compatibility @ (spatial @ means[0] + bilateral @ means[1])
        np.testing.assert_allclose(found.reshape(3, 20), scores, 1e-3, 1e-3)
    for where in (0, 1, ("param", 0), ("param", 1), ("param", 2)):
        check_gradient(case, where, rng, tolerance=1e-2)
    check_manners(case, rng)
    assert not case.layer.differentiable(2)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("num_iterations: 2", "", "num_iterations: 0 must be 1 at least"),
        ("theta_alpha: 4", "theta_alpha: -1", "theta_alpha: -1, theta_beta: 1 and theta_gamma: 1.5 must be above 0"),
        ("theta_alpha: 4", "theta_alpha: 4 compatibility_mode: SEMI_METRIC", "SEMI_METRIC is not there; give POTTS"),
    ],
)
def test_messages(old, new, says):
    with pytest.raises(LayerError, match=says):
        build(TEXT.replace(old, new), SHAPES)


def test_shapes_and_values():
    with pytest.raises(LayerError, match=r"'bottom2' has shape \(2, 1, 4, 5\); .* it must be \(2, 3, 4, 5\)"):
        build(TEXT, [*SHAPES[:2], (2, 1, 4, 5)])
    case = build(TEXT, SHAPES)
    case.bottom[2].data[0, 0, 0, 0] = np.nan
    with pytest.raises(LayerError, match="'bottom2', the image, has values that are infinite or NaN"):
        case.forward()
    case.bottom[2].data[...] = 1e6 * np.random.default_rng(0).standard_normal(SHAPES[2])
    case.bottom[2].data[:, 0] *= 1e3
    with pytest.raises(LayerError, match=r"too wide for its filter, a lattice of [\dx ]+ points; raise theta_alpha"):
        case.forward()
