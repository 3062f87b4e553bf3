"""The measured nets on a real GPU: Caffe's sizes, which are too large for an emulated one."""

import numpy as np
import pytest

import caffepy as caffe
from benchmarks.nets import NETS
from benchmarks.runs import build, one_score
from tests.gpu_mode import downloaded, running

pytestmark = pytest.mark.gpu


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("name", NETS)
def test_the_numbers_are_the_cpus_and_stay_when_replayed(name: str) -> None:
    net = build(NETS[name](2))
    out, diff = net.outputs[0], {net.outputs[0]: one_score(net)}
    expected = net.forward()[out].copy(), net.gradient(diff)["data"]
    with running("gpu-real"):
        passes = [(net.forward()[out].copy(), downloaded(net.gradient(diff)["data"])) for _ in range(3)]
    assert difference(passes[0][0], expected[0]) < 1e-3
    assert difference(passes[0][1], expected[1]) < 2e-2  # where two values of a pooling window are as good as equal
    for later in passes[1:]:
        for again, first in zip(later, passes[0], strict=True):
            np.testing.assert_array_equal(again, first)


def test_a_smaller_and_a_larger_batch_on_one_net() -> None:
    net = build(NETS["squeezenet"](2))
    images = np.random.default_rng(3).standard_normal((4, 3, 227, 227)).astype(np.float32)
    with running("gpu-real"):
        for batch in (2, 1, 4, 2, 4):
            net.blobs["data"].reshape(batch, 3, 227, 227)
            found = net.forward(data=images[:batch])["prob"].copy()
            caffe.set_mode_cpu()
            assert difference(found, net.forward(data=images[:batch])["prob"]) < 1e-3
            caffe.set_mode_gpu()
