"""BatchNorm's operations."""

import numpy as np
import pytest

from caffepy.layers.normalization import batch_norm as bn
from caffepy.proto.caffe_pb2 import TRAIN
from tests.gpu_mode import check_bodies, noise
from tests.layers.runner import build, fill

EXTENTS = [(2, 3, 20), (5, 2, 7), (1, 1, 1), (300, 4, 1), (1, 2, 1030), (3, 2, 256)]


pytestmark = pytest.mark.usefixtures("gpu")


def per_channel(channels: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.5, 2, channels).astype(np.float32)


@pytest.mark.parametrize("extent", EXTENTS)
def test_batch_norm_statistics(extent: tuple[int, int, int]) -> None:
    data, diff, written = noise(*extent) + 5, noise(*extent)[::-1].copy(), np.full(extent[1], np.nan, np.float32)
    check_bodies(bn.batch_norm_batch_stats, data, *extent, written, written.copy(), atol=1e-5)
    check_bodies(bn.batch_norm_diff_stats, diff, data, *extent, written, written.copy(), atol=1e-5)


@pytest.mark.parametrize("values", [1, 60])
@pytest.mark.parametrize("weight_sum", [0.0, 1.99])
def test_batch_norm_gathers(weight_sum: float, values: int) -> None:
    mean, variance, *sums = (per_channel(300, seed) for seed in range(4))
    weight = np.full(1, weight_sum, np.float32)
    check_bodies(bn.batch_norm_gather_stats, mean, variance, values, *sums, weight, fraction=float(np.float32(0.9)))
    check_bodies(bn.batch_norm_global_stats, *sums, weight, np.full_like(mean, np.nan), np.full_like(mean, np.nan))


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("extent", EXTENTS)
def test_batch_norm(extent: tuple[int, int, int], start: int) -> None:
    eps = float(np.float32(1e-5))
    data, diff, written = noise(*extent) + 5, noise(*extent)[::-1].copy(), np.full(extent, np.nan, np.float32)
    mean, variance, product = (per_channel(extent[1], seed) for seed in range(3))
    variance[0] = 0
    normalized = written.copy()
    check_bodies(bn.batch_norm_forward, data, mean, variance, *extent, normalized, written, eps=eps, start=start)
    check_bodies(bn.batch_norm_forward, data, mean, variance, *extent, None, data, eps=eps, start=start)
    check_bodies(bn.batch_norm_global_backward, diff, variance, *extent, written, eps=eps, start=start)
    args = (diff, data, mean, product, variance, *extent)
    check_bodies(bn.batch_norm_backward, *args, written, eps=eps, start=start)
    check_bodies(bn.batch_norm_backward, *args, diff, eps=eps, start=start)


def test_what_batch_norm_gathers_on_the_gpu_is_seen_on_the_host() -> None:
    case = build('type: "BatchNorm"', [(4, 2, 3)], TRAIN)
    fill(case, np.random.default_rng(0))
    for weight in case.weights:
        weight.data[...] = 0
    case.forward()
    case.forward()
    expected = case.bottom[0].data.mean(axis=(0, 2)) * (1 + np.float32(0.999))
    np.testing.assert_allclose(case.weights[0].data, expected, 1e-5, 1e-6)
    np.testing.assert_allclose(case.weights[2].data, 1.999, 1e-6)
