"""LRN's kernels against the NumPy bodies: strips and windows that do not come out even, powers, large values."""

import math

import numpy as np
import pytest

from caffepy.layers.normalization import lrn
from tests.gpu_mode import check_bodies

USUAL = {"local_size": 5, "alpha": 0.0001, "beta": 0.75, "k": 1.0}
STRONG = {"local_size": 3, "alpha": 1.5, "beta": 0.75, "k": 2.0}
OTHER_POWER = {"local_size": 7, "alpha": 0.5, "beta": 0.6, "k": 1.0}
WIDE = {"local_size": 17, "alpha": 1.0, "beta": 0.75, "k": 1.0}

SHAPES = [(2, 37, 5, 14), (1, 3, 2, 1), (3, 8, 9, 70)]


def check(shape, x, *, within, local_size, alpha, beta, k):
    rng = np.random.default_rng(1)
    extent, count = shape[1:], math.prod(shape)
    pad, (channels, height, width) = local_size - 1, extent
    padded = (height + pad) * (2 * width + pad) * channels if within else (channels + pad) * height * width
    workspace = np.full(max(padded + math.prod(extent), count), np.nan, np.float32)
    constants = {"local_size": local_size, "alpha": alpha, "beta": beta, "within": within}
    scale, top = np.full((2, *shape), 7, np.float32)
    check_bodies(lrn.lrn_forward, x, *extent, workspace, scale, top, k=k, rtol=2e-6, atol=1e-7, **constants)
    lrn.lrn_forward(x, *extent, workspace, scale, top, k=k, **constants)
    diff = rng.standard_normal(shape).astype(np.float32)
    check_bodies(lrn.lrn_backward, x, scale, diff, *extent, workspace, np.full_like(x, 7), rtol=1e-5, **constants)


@pytest.mark.parametrize("within", [False, True], ids=["across", "within"])
@pytest.mark.parametrize("parameters", [USUAL, STRONG, OTHER_POWER, WIDE], ids=["usual", "strong", "power", "wide"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_both_bodies_agree(gpu, shape, parameters, within):
    x = 30 * np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    check(shape, x, within=within, **parameters)


@pytest.mark.parametrize("within", [False, True], ids=["across", "within"])
def test_large_values_leave_no_trace_in_their_neighbours_sums(gpu, within):
    x = np.full((1, 24, 9, 9), 1e-3, np.float32)
    x[0, 2, 4, 4] = 1e6
    check(x.shape, x, within=within, **STRONG)


def test_no_images(gpu):
    check((0, 3, 4, 4), np.zeros((0, 3, 4, 4), np.float32), within=False, **USUAL)
    check((0, 3, 4, 4), np.zeros((0, 3, 4, 4), np.float32), within=True, **USUAL)
