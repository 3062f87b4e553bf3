"""InnerProduct's kernels against the NumPy bodies: streams and tiles, both layouts of the weights, split sums."""

import numpy as np
import pytest

from caffepy.layers.common import inner_product, inner_product_plan
from tests.gpu_mode import check_bodies, running

SIZES = [(12, 20), (301, 700), (700, 301), (1030, 4), (5, 1), (130, 132)]


def check(num, inputs, outputs, transpose, tolerance=1e-4):
    rng = np.random.default_rng(0)
    shapes = (inputs, outputs) if transpose else (outputs, inputs), (outputs,), (num, inputs), (num, outputs)
    weight, bias, bottom, top = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    count = max(weight.size, inner_product_plan.workspace_count(num, inputs, outputs))
    w, new = np.full(count, np.nan, np.float32), np.full_like
    c = {"transpose": transpose, "rtol": tolerance, "atol": tolerance}
    check_bodies(inner_product.inner_product_forward, bottom, weight, bias, w, new(top, np.nan), **c)
    check_bodies(inner_product.inner_product_forward, bottom, weight, None, w, new(top, np.nan), **c)
    check_bodies(inner_product.inner_product_backward, top, weight, w, new(bottom, np.nan), **c)
    check_bodies(inner_product.inner_product_backward_weights, bottom, top, w, new(weight, 3), **c)
    check_bodies(inner_product.inner_product_backward_bias, top, new(bias, 3), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("multiprocessors", [1, 132])
@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("num", [1, 3, 8, 9, 40])
@pytest.mark.parametrize(("inputs", "outputs"), SIZES)
def test_both_bodies_agree(gpu, num, inputs, outputs, transpose, multiprocessors, monkeypatch):
    monkeypatch.setattr(gpu, "multiprocessors", multiprocessors)
    check(num, inputs, outputs, transpose)


def test_no_images(gpu):
    check(0, 12, 20, transpose=False)


@pytest.mark.long
@pytest.mark.parametrize("num", [1, 16])
@pytest.mark.parametrize(("inputs", "outputs"), [(9216, 4096), (4096, 4096), (4096, 1000)], ids=["fc6", "fc7", "fc8"])
def test_layers_of_caffenet(num, inputs, outputs, monkeypatch):
    with running("gpu-ascending") as gpu:
        monkeypatch.setattr(gpu, "multiprocessors", 132)
        check(num, inputs, outputs, transpose=False, tolerance=1e-3)
