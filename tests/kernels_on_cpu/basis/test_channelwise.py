"""Operations with one value per channel: BatchNorm, Scale, Bias, PReLU."""

import numpy as np
import pytest

from caffepy.layers.activation.prelu import prelu_backward, prelu_backward_weights, prelu_forward
from caffepy.layers.basis.row_plan import shares_of
from caffepy.layers.common.scale import bias_backward_weights, scale_backward, scale_backward_weights, scale_forward
from caffepy.layers.normalization import batch_norm as bn
from caffepy.layers.normalization.mvn import mvn_spread
from caffepy.proto.caffe_pb2 import TRAIN
from tests.gpu_mode import check_bodies
from tests.layers.runner import build, fill

EXTENTS = [(2, 3, 20), (5, 2, 7), (1, 1, 1), (300, 4, 1), (1, 2, 1030), (3, 2, 256)]

pytestmark = pytest.mark.usefixtures("gpu")


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


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


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("extent", EXTENTS)
def test_scale(extent: tuple[int, int, int], start: int) -> None:
    data, diff, written = noise(*extent), noise(*extent)[::-1].copy(), np.full(extent, np.nan, np.float32)
    scale, bias = per_channel(extent[1], 0), per_channel(extent[1], 1)
    check_bodies(scale_forward, data, scale, bias, *extent, written, written.copy(), start=start)
    check_bodies(scale_forward, data, scale, None, *extent, None, data, start=start)
    check_bodies(scale_forward, data, None, bias, *extent, None, written, start=start)
    check_bodies(scale_backward, diff, scale, *extent, written, start=start)
    check_bodies(scale_backward, diff, scale, *extent, diff, start=start)


@pytest.mark.parametrize("extent", EXTENTS)
def test_scale_weights(extent: tuple[int, int, int]) -> None:
    data, diff, gathered = noise(*extent), noise(*extent)[::-1].copy(), per_channel(extent[1], 0)
    check_bodies(scale_backward_weights, data, diff, *extent, gathered, accumulate=True, atol=1e-5)
    check_bodies(scale_backward_weights, data, diff, *extent, gathered * np.nan, accumulate=False, atol=1e-5)
    check_bodies(bias_backward_weights, diff, *extent, gathered, accumulate=True, atol=1e-5)
    check_bodies(bias_backward_weights, diff, *extent, gathered * np.nan, accumulate=False, atol=1e-5)


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("extent", EXTENTS)
def test_prelu(extent: tuple[int, int, int], start: int) -> None:
    data, diff, written = noise(*extent), noise(*extent)[::-1].copy(), np.full(extent, np.nan, np.float32)
    data[0, 0, 0] = np.nan
    slope = per_channel(extent[1], 1) - 1
    check_bodies(prelu_forward, data, slope, *extent, written, written.copy(), start=start)
    check_bodies(prelu_forward, data, slope, *extent, None, data, start=start)
    check_bodies(prelu_backward, data, diff, slope, *extent, written, start=start)
    data[0, 0, 0] = 0
    check_prelu_weights(data, diff, extent, 1e-5)


def check_prelu_weights(data: np.ndarray, diff: np.ndarray, extent: tuple[int, int, int], atol: float) -> None:
    num, channels, inner = extent
    workspace = np.empty(channels * shares_of(channels, num * inner), np.float32)
    check_bodies(prelu_backward_weights, data, diff, *extent, workspace, per_channel(channels, 2), atol=atol)


@pytest.mark.parametrize("extent", [(3, 1, 9001), (9001, 2, 3)])
def test_prelu_weights_of_long_channels(extent: tuple[int, int, int]) -> None:
    check_prelu_weights(noise(*extent), noise(*extent)[::-1].copy(), extent, 1e-3)


def test_mvn_spread() -> None:
    check_bodies(mvn_spread, per_channel(300, 0), np.full(300, np.nan, np.float32), eps=0.5)


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
