"""Pooling's kernels against the NumPy bodies: every schedule, odd windows, ties, NaN and infinities, big and small."""

import itertools
import math

import numpy as np
import pytest

from caffepy.errors import KernelError
from caffepy.layers.vision import global_pooling as whole
from caffepy.layers.vision import pooling, pooling_plan
from caffepy.layers.vision import stochastic_pooling as stochastic
from caffepy.layers.vision.arranged import shifts_of
from caffepy.layers.vision.window import PoolingWindow
from tests.gpu_mode import check_bodies

WINDOWS = {
    "3x3 by 2": PoolingWindow(3, 3, 2, 2),
    "3x3 by 1, pad 1": PoolingWindow(3, 3, 1, 1, 1, 1),
    "2x2 by 2, pad 1": PoolingWindow(2, 2, 2, 2, 1, 1),
    "oblong": PoolingWindow(3, 2, 2, 3, 1, 0),
    "gaps, and windows wholly outside": PoolingWindow(2, 1, 5, 3),
    "large": PoolingWindow(9, 7, 2, 1, 3, 6),
}
SHAPES = [(2, 3, 7, 9), (1, 2, 21, 70), (3, 50, 2, 1), (1, 1, 10, 300)]
CASES = [
    pytest.param(window, shape, id=f"{name} of {shape}")
    for name, window in WINDOWS.items()
    for shape in SHAPES
    if min(window.pooled(*shape[2:], round_up=True)) >= 1
]


def pictures(shape, seed=0):
    """Many ties; planes of NaN, of -inf and of values no maximum begins below."""
    x = np.round(np.random.default_rng(seed).standard_normal(shape), 1).astype(np.float32)
    flat = x.reshape(-1)
    flat[:: max(7, flat.size // 50)] = np.nan
    flat[3 :: max(11, flat.size // 40)] = np.inf
    x[-1, -1, : shape[2] // 2] = -np.inf
    x[-1, -1, shape[2] // 2 :, : shape[3] // 2] = np.finfo(np.float32).min
    return x


def operands(window, shape):
    height, width = shape[2:]
    pooled = window.pooled(height, width, round_up=True)
    shifts = shifts_of(height, width, *pooled, window)
    planes = shifts.together(math.prod(shape[:2]))
    workspace = np.full(shifts.arranged_count(planes) + planes * shifts.size, np.nan, np.float32)
    top = np.full((*shape[:2], *pooled), 7, np.float32)
    diff = np.random.default_rng(1).standard_normal(top.shape).astype(np.float32)
    return (height, width, *pooled, workspace), top, diff


def masks(x, extent, top, window):
    """Where NumPy's body finds the maxima."""
    mask = np.full(top.shape, 7, np.int32)
    pooling.max_pool_forward.twin(x, *extent[:4], extent[4].copy(), mask, top.copy(), window=window)
    return mask


@pytest.mark.parametrize(("window", "shape"), CASES)
def test_max(gpu, window, shape):
    extent, top, diff = operands(window, shape)
    x = pictures(shape)
    mask = masks(x, extent, top, window)
    check_bodies(pooling.max_pool_forward, x, *extent, np.full_like(mask, 7), top, window=window, rtol=0, atol=0)
    check_bodies(pooling.max_pool_mask, mask, top, rtol=0, atol=0)
    check_bodies(pooling.max_pool_backward, diff, mask, *extent[:4], np.full_like(x, 7), window=window)


@pytest.mark.parametrize(("window", "shape"), CASES)
def test_ave(gpu, window, shape):
    extent, top, diff = operands(window, shape)
    x = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    check_bodies(pooling.ave_pool_forward, x, *extent, top, window=window)
    check_bodies(pooling.ave_pool_backward, diff, *extent, np.full_like(x, 7), window=window)


@pytest.mark.parametrize("shape", [(2, 3, 7, 9), (1, 2, 21, 70)], ids=str)
def test_tiles_with_more_windows_than_shared_memory_holds(gpu, shape, monkeypatch):
    monkeypatch.setattr(pooling_plan, "TILE_WINDOWS", 64)
    window = PoolingWindow(9, 7, 2, 1, 3, 6)
    extent, top, diff = operands(window, shape)
    x = pictures(shape)
    mask = masks(x, extent, top, window)
    (launch,) = pooling.max_pool_backward.launches(diff, mask, *extent[:4], x, window=window)
    *_, rows, rows_at_once, _ = launch.arguments
    assert rows_at_once < rows
    check_bodies(pooling.max_pool_backward, diff, mask, *extent[:4], np.full_like(x, 7), window=window)
    check_bodies(pooling.ave_pool_backward, diff, *extent, np.full_like(x, 7), window=window)


def test_small_windows_always_fit_into_shared_memory():
    sizes = [size for size in np.ndindex(33, 33) if 1 <= math.prod(size) <= pooling_plan.SMALL]
    for size, stride, extent in itertools.product(sizes, (1, 2, 3), (33, 70, 300)):
        window = PoolingWindow(*size, stride, stride)
        pooled = window.pooled(extent, extent, round_up=True)
        x, top = np.empty((9, extent, extent), np.float32), np.empty((9, *pooled), np.float32)
        (launch,) = pooling.ave_pool_backward.launches(top, extent, extent, *pooled, x, x, window=window)
        *_, rows, rows_at_once, columns = launch.arguments
        assert rows == rows_at_once
        assert launch.block[2] * rows * columns <= pooling_plan.TILE_WINDOWS


def test_windows_too_wide_for_shared_memory_are_refused():
    window = PoolingWindow(1, 3000)
    x, top = np.empty((1, 1, 6000), np.float32), np.empty((1, 1, 3001), np.float32)
    with pytest.raises(KernelError, match=r"max_pool_backward: 3031 windows side by side see a pixel, .* 2048"):
        pooling.max_pool_backward.launches(top, top, 1, 6000, 1, 3001, x, window=window)


@pytest.mark.parametrize("shape", [(2, 9, 7, 7), (1, 3, 40, 41), (70, 1, 1, 1), (1, 1, 2, 1)], ids=str)
def test_whole_planes(gpu, shape):
    inner = shape[2] * shape[3]
    x = pictures(shape)
    top, mask = np.full((*shape[:2], 1, 1), 7, np.float32), np.full((*shape[:2], 1, 1), 7, np.int32)
    diff = np.random.default_rng(1).standard_normal(top.shape).astype(np.float32)
    check_bodies(whole.global_max_pool_forward, x, inner, mask, top, rtol=0, atol=0)
    whole.global_max_pool_forward.twin(x, inner, mask, top)
    check_bodies(whole.global_max_pool_backward, diff, mask, inner, np.full_like(x, 7), rtol=0, atol=0)
    finite = np.nan_to_num(x, posinf=3, neginf=2)
    check_bodies(whole.global_ave_pool_forward, np.clip(finite, -9, 9), inner, top)
    check_bodies(whole.global_ave_pool_backward, diff, inner, np.full_like(x, 7), rtol=0, atol=0)


@pytest.mark.parametrize("inner", [100, 2000])
def test_the_first_of_many_maxima_is_found(gpu, inner):
    mask, top = np.full(9, 7, np.int32), np.full(9, 7, np.float32)
    check_bodies(whole.global_max_pool_forward, np.ones((9, inner), np.float32), inner, mask, top)


def test_minus_zero_is_no_less_than_zero(gpu):
    x = np.array([[-1, -0.0, 0.0, -2], [-3, 0.0, -0.0, -0.0]], np.float32)
    check_bodies(whole.global_max_pool_forward, x, 4, np.zeros(2, np.int32), np.zeros(2, np.float32), rtol=0, atol=0)


STOCHASTIC = {name: WINDOWS[name] for name in ("3x3 by 2", "gaps, and windows wholly outside")}
STOCHASTIC["large"] = PoolingWindow(7, 6, 3, 3)


@pytest.mark.parametrize("window", STOCHASTIC.values(), ids=STOCHASTIC)
@pytest.mark.parametrize("shape", [(2, 3, 8, 9), (1, 2, 21, 70)], ids=str)
def test_stochastic_training(gpu, window, shape):
    (*extent, _), top, diff = operands(window, shape)
    x = np.random.default_rng(3).uniform(0, 5, shape).astype(np.float32)
    x[0, 0] = 0
    x[-1, -1, 2, 2] = np.nan
    mask, seed = np.full(top.shape, 7, np.int32), np.array([123456789], np.int32)
    check_bodies(stochastic.stochastic_pool_forward, x, seed, *extent, mask, top, window=window, rtol=0, atol=0)
    stochastic.stochastic_pool_forward(x, seed, *extent, mask, top, window=window)
    assert len(np.unique(mask)) > 10
    check_bodies(pooling.max_pool_backward, diff, mask, *extent, np.full_like(x, 7), window=window)


@pytest.mark.parametrize("window", STOCHASTIC.values(), ids=STOCHASTIC)
@pytest.mark.parametrize("shape", [(2, 3, 8, 9), (1, 2, 21, 70)], ids=str)
def test_stochastic_testing(gpu, window, shape):
    (*extent, _), top, diff = operands(window, shape)
    x = np.random.default_rng(3).uniform(0.5, 5, shape).astype(np.float32)
    x[0, 0] = 0
    diff[0, 0] = 0  # where the sum is 0, a diff above 4 overflows
    check_bodies(stochastic.weighted_pool_forward, x, *extent, top, window=window)
    check_bodies(stochastic.weighted_pool_backward, x, diff, *extent, np.full_like(x, 7), window=window)


def test_no_images(gpu):
    window, x, top = PoolingWindow(2, 2), np.zeros((0, 3, 4, 4), np.float32), np.zeros((0, 3, 3, 3), np.float32)
    check_bodies(pooling.ave_pool_forward, x, 4, 4, 3, 3, np.zeros(100, np.float32), top, window=window)
    check_bodies(pooling.ave_pool_backward, top, 4, 4, 3, 3, np.zeros(100, np.float32), x, window=window)
    check_bodies(whole.global_ave_pool_forward, x, 16, np.zeros((0, 3, 1, 1), np.float32))
