"""MultiStageMeanfield against Zheng et al.'s equations with dense Gaussian matrices, and its lattice's properties."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from caffepy.layers.permutohedral import Lattice
from caffepy.proto.caffe_pb2 import TRAIN
from tests.layers.runner import build, check_gradient, check_manners, fill

PARAM = (
    'type: "MultiStageMeanfield" multi_stage_meanfield_param { num_iterations: %d theta_alpha: 4 theta_beta: 1.5 '
    "theta_gamma: 2 spatial_filter_weight: 0.8 bilateral_filter_weight: 1.2 %s }"
)
SHAPES = [(2, 4, 6, 5), (2, 4, 6, 5), (2, 3, 6, 5)]


def make(iterations=3, seed=1):
    rng = np.random.default_rng(seed)
    case = build(PARAM % (iterations, ""), SHAPES, TRAIN)
    fill(case, rng)
    for j, weight in enumerate(case.weights):
        weight.data[0, 0] = np.diag([0.8, 1.2, -1][j] + rng.uniform(-0.2, 0.2, 4)) + 0.1 * rng.standard_normal((4, 4))
    return case, rng


@pytest.mark.parametrize(("dimensions", "spread"), [(2, 3.0), (3, 1.5), (5, 0.7)])
def test_the_lattice_filters_nearly_as_a_gaussian(dimensions, spread):
    rng = np.random.default_rng(dimensions)
    features = (spread * rng.standard_normal((500, dimensions))).astype(np.float32)
    values, lattice = rng.random((2, 500), np.float32), Lattice(features)
    weights = np.exp(-((features[:, None] - features[None]) ** 2).sum(axis=2) / 2)
    found = lattice.filter(values) / lattice.filter(np.ones((1, 500), np.float32))
    expected = (values @ weights) / weights.sum(axis=0)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.94
    assert np.abs(found - expected).mean() < 0.3 * expected.std()


def test_the_lattices_derivative_is_its_transpose():
    rng = np.random.default_rng(0)
    lattice = Lattice(rng.standard_normal((300, 5)).astype(np.float32))
    u, v = rng.random((2, 1, 300), np.float32)
    assert (u * lattice.filter(v)).sum() == pytest.approx((v * lattice.filter(u, transposed=True)).sum(), rel=1e-5)


def test_iterations_are_those_of_the_paper():
    """With matrices for the filters: made column by column from the lattice, which the tests above look at."""
    case, _ = make()
    (top,) = case.forward()
    unary, begin, image = (blob.data.astype(np.float64) for blob in case.bottom)
    near, alike, compatible = (weight.data[0, 0].astype(np.float64) for weight in case.weights)
    for n in range(2):
        places = np.array([(x, y) for y in range(6) for x in range(5)])
        colours = np.array([image[n, :, y, x] for y in range(6) for x in range(5)])
        filters = []
        for features in (places / 2, np.hstack([places / 4, colours / 1.5])):
            columns = Lattice(features.astype(np.float32)).filter(np.eye(30, dtype=np.float32)).astype(np.float64)
            filters.append(columns / columns.sum(axis=0))
        x = begin[n].reshape(4, 30)
        for _ in range(3):
            q = np.exp(x) / np.exp(x).sum(axis=0)
            message = near @ (q @ filters[0]) + alike @ (q @ filters[1])
            x = unary[n].reshape(4, 30) - compatible @ message
        np.testing.assert_allclose(top[n].reshape(4, 30), x, rtol=1e-4, atol=1e-4)


def test_it_begins_with_diagonal_weights():
    case = build(PARAM % (1, ""), SHAPES, TRAIN)
    for index, value in enumerate((0.8, 1.2, -1)):
        case.layer.fill(index)
        np.testing.assert_allclose(case.weights[index].data[0, 0], value * np.eye(4), rtol=1e-6)


@pytest.mark.parametrize("bottom", [0, 1])
def test_gradient(bottom):
    case, rng = make(2)
    check_gradient(case, bottom, rng)


def test_manners():
    case, rng = make(2)
    check_manners(case, rng)


@pytest.mark.parametrize(
    ("text", "shapes", "message"),
    [
        (PARAM % (0, ""), SHAPES, "num_iterations: 0; give at least 1"),
        (PARAM.replace("theta_beta: 1.5", "theta_beta: 0") % (1, ""), SHAPES, "theta_beta: 0; give a number above 0"),
        (PARAM % (1, "compatibility_mode: READ_FROM_FILE"), SHAPES, "only POTTS is there"),
        (PARAM % (1, ""), [*SHAPES[:2], (2, 1, 6, 5)], r"give two of \(n, 4, h, w\) and an image of \(n, 3, h, w\)"),
    ],
)
def test_messages(text, shapes, message):
    with pytest.raises(LayerError, match=message):
        build(text, shapes, TRAIN)
