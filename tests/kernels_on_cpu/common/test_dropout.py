"""Dropout's mask, bit for bit."""

import numpy as np
import pytest

from caffepy.layers.common.dropout import dropout_forward
from caffepy.proto.caffe_pb2 import TRAIN
from caffepy.rng import set_random_seed
from tests.gpu_mode import check_bodies, running
from tests.layers.runner import build


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("ratio", [0.5, float(np.float32(0.3))])
@pytest.mark.parametrize(("size", "seed"), [(1, 0), (8, 1), (2**14 + 5, 2**31 - 1)])
def test_mask_is_numpys(size: int, seed: int, ratio: float, start: int) -> None:
    bottom = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    mask, top = np.full(size, np.nan, np.float32), np.full(size, np.nan, np.float32)
    seeds, exact = np.array([seed], np.int32), {"rtol": 0, "atol": 0, "start": start}
    check_bodies(dropout_forward, bottom, seeds, mask, top, dropout_ratio=ratio, **exact)
    check_bodies(dropout_forward, bottom, seeds, mask, bottom, dropout_ratio=ratio, **exact)


def test_every_pass_draws_the_mask_that_the_cpu_draws() -> None:
    def three_passes() -> list[np.ndarray]:
        set_random_seed(7)
        case = build('type: "Dropout"', [(5, 40)], TRAIN)
        case.bottom[0].data[...] = 1
        return [case.forward()[0].copy() for _ in range(3)]

    expected = three_passes()
    with running("gpu-ascending"):
        np.testing.assert_array_equal(three_passes(), expected)
    assert not np.array_equal(expected[0], expected[1])
