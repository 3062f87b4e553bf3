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
def test_mask_is_philoxs(size: int, seed: int, ratio: float, start: int, monkeypatch: pytest.MonkeyPatch) -> None:
    bottom = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    uniform = np.random.Generator(np.random.Philox(key=seed)).random(size, np.float32)
    expected = (uniform >= np.float32(ratio)) * np.float32(1.5)

    def on_cpu(bottom_data, seed, mask, top_data, *, dropout_ratio, kept):
        mask[...] = expected
        top_data[...] = bottom_data * expected

    monkeypatch.setattr(dropout_forward, "twin", on_cpu)
    mask, top = np.full(size, np.nan, np.float32), np.full(size, np.nan, np.float32)
    seeds, exact = np.array([seed], np.int32), {"rtol": 0, "atol": 0, "start": start}
    check_bodies(dropout_forward, bottom, seeds, mask, top, dropout_ratio=ratio, kept=1.5, **exact)
    check_bodies(dropout_forward, bottom, seeds, mask, bottom, dropout_ratio=ratio, kept=1.5, **exact)


def test_every_pass_on_a_gpu_draws_anew_and_repeats_by_seed() -> None:
    def three_passes() -> list[np.ndarray]:
        set_random_seed(7)
        case = build('type: "Dropout"', [(5, 40)], TRAIN)
        case.bottom[0].data[...] = 1
        return [case.forward()[0].copy() for _ in range(3)]

    with running("gpu-ascending"):
        first = three_passes()
        np.testing.assert_array_equal(three_passes(), first)
    assert not np.array_equal(first[0], first[1])
