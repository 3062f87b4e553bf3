"""Fillers: the distributions, the shapes they count by, and their repetition by seed."""

import math

import numpy as np
import pytest

from caffepy.errors import LayerError
from caffepy.filler import Filler
from caffepy.proto.caffe_pb2 import FillerParameter
from caffepy.rng import set_random_seed

SHAPE = (50, 40, 5, 6)
"""60,000 weights: fan_in 1200, fan_out 1500."""


def fill(shape=SHAPE, seed=1, **param):
    set_random_seed(seed)
    data = np.full(shape, np.nan, np.float32)
    Filler(FillerParameter(**param), shape, LayerError).fill(data)
    return data


def assert_distributed(data, cumulative):
    """The largest distance of the data's distribution from `cumulative` is what chance allows (Kolmogorov-Smirnov)."""
    ordered = np.sort(data.reshape(-1).astype(np.float64))
    ranks = np.arange(ordered.size + 1) / ordered.size
    expected = np.array([cumulative(x) for x in ordered])
    distance = max(abs(expected - ranks[1:]).max(), abs(expected - ranks[:-1]).max())
    assert distance < 2 / math.sqrt(ordered.size), distance  # chance: 1 in 1500


def uniform(low, high):
    return lambda x: min(max((x - low) / (high - low), 0), 1)


def normal(mean, deviation):
    return lambda x: 0.5 * (1 + math.erf((x - mean) / (deviation * math.sqrt(2))))


def test_constant():
    assert (fill(type="constant", value=2.5) == 2.5).all()
    assert (fill() == 0).all()


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3, 5), (2, 2.5)])
def test_uniform(low, high):
    data = fill(type="uniform", min=low, max=high)
    assert low <= data.min() < data.max() <= high
    assert_distributed(data, uniform(low, high))


@pytest.mark.parametrize(("mean", "std"), [(0, 1), (-2, 0.01), (10, 3)])
def test_gaussian(mean, std):
    assert_distributed(fill(type="gaussian", mean=mean, std=std), normal(mean, std))


@pytest.mark.parametrize("sparse", [0, 5, 25, 50])
def test_sparse_gaussian_keeps_sparse_of_the_outputs_weights(sparse):
    data = fill(type="gaussian", std=2, sparse=sparse)
    share = sparse / SHAPE[0]
    assert abs((data != 0).mean() - share) <= 4 * math.sqrt(share * (1 - share) / data.size)
    if sparse:
        assert_distributed(data[data != 0], normal(0, 2))


def test_positive_unitball():
    data = fill(type="positive_unitball")
    assert data.min() >= 0
    np.testing.assert_allclose(data.reshape(SHAPE[0], -1).sum(axis=1), 1, 1e-5)
    row = data.reshape(SHAPE[0], -1)[0]
    assert_distributed(row / row.max(), uniform(0, 1))


NORMS = [
    ({}, 1200),
    ({"variance_norm": FillerParameter.FAN_IN}, 1200),
    ({"variance_norm": FillerParameter.FAN_OUT}, 1500),
    ({"variance_norm": FillerParameter.AVERAGE}, 1350),
]


@pytest.mark.parametrize(("norm", "n"), NORMS)
def test_xavier(norm, n):
    limit = math.sqrt(3 / n)
    data = fill(type="xavier", **norm)
    assert abs(data).max() <= limit
    assert_distributed(data, uniform(-limit, limit))


@pytest.mark.parametrize(("norm", "n"), NORMS)
def test_msra(norm, n):
    assert_distributed(fill(type="msra", **norm), normal(0, math.sqrt(2 / n)))


def test_msra_for_a_leaky_rectifier():
    assert_distributed(fill((3000,), type="msra", alpha=2), normal(0, math.sqrt(2 / 5)))


def test_a_single_axis_counts_as_one_input():
    assert_distributed(fill((3000,), type="msra"), normal(0, math.sqrt(2)))
    out = fill((3000,), type="msra", variance_norm=FillerParameter.FAN_OUT)
    assert_distributed(out, normal(0, math.sqrt(2 / 3000)))


@pytest.mark.parametrize(
    ("size", "row"),
    [
        (1, [1]),
        (2, [0.5, 0.5]),
        (3, [0.5, 1, 0.5]),
        (4, [0.25, 0.75, 0.75, 0.25]),
        (5, [1 / 3, 2 / 3, 1, 2 / 3, 1 / 3]),
    ],
)
def test_bilinear(size, row):
    data = fill((2, 3, size, size), type="bilinear")
    for plane in data.reshape(6, size, size):
        np.testing.assert_allclose(plane, np.outer(row, row), 1e-6)


@pytest.mark.parametrize("name", ["uniform", "gaussian", "positive_unitball", "xavier", "msra"])
def test_seed_repeats_the_numbers(name):
    np.testing.assert_array_equal(fill((3, 4), 5, type=name), fill((3, 4), 5, type=name))
    assert not np.array_equal(fill((3, 4), 5, type=name), fill((3, 4), 6, type=name))


@pytest.mark.parametrize("name", ["xavier", "msra", "positive_unitball"])
def test_one_number_and_none(name):
    """A slope that all channels have in common is a blob of no axes: its one input counts (Caffe: Blob::num is 1)."""
    assert np.isfinite(fill((), type=name))
    assert fill((0, 3), type=name).shape == (0, 3)


@pytest.mark.parametrize(
    ("param", "shape", "message"),
    [
        ({"type": "xaviar"}, (2, 3), "unknown filler type 'xaviar'; there are bilinear, constant"),
        ({"type": "uniform", "sparse": 3}, (2, 3), "filler 'uniform' has no sparse"),
        ({"type": "bilinear"}, (2, 3), r"needs a 4-D weight blob with square planes, got \(2, 3\)"),
        ({"type": "bilinear"}, (2, 3, 4, 5), r"got \(2, 3, 4, 5\)"),
        ({"type": "gaussian", "sparse": 1}, (), "sparse, which counts outputs, and the weight blob is one number"),
        ({"type": "uniform", "min": 0, "max": math.inf}, (2,), "draws from min: 0 to max: inf; give numbers in order"),
        ({"type": "uniform", "min": -3e38, "max": 3e38}, (2,), "min: -3e\\+38 to max: 3e\\+38"),
        ({"type": "uniform", "min": 1, "max": 0}, (2,), "min: 1 to max: 0"),
        ({"type": "uniform", "min": math.nan}, (2,), "min: nan to max: 1"),
    ],
)
def test_errors(param, shape, message):
    with pytest.raises(LayerError, match=message):
        fill(shape, **param)
