"""Accuracy's operations."""

import numpy as np
import pytest

from caffepy.layers.basis.labels import LabelRule
from caffepy.layers.basis.row_plan import shares_of
from caffepy.layers.loss.accuracy import accuracy_forward, accuracy_hits, accuracy_per_class
from caffepy.proto.caffe_pb2 import LossParameter
from tests.gpu_mode import check_bodies, noise

pytestmark = pytest.mark.usefixtures("gpu")


@pytest.mark.parametrize("top_k", [1, 3])
@pytest.mark.parametrize("ignores", [False, True])
@pytest.mark.parametrize("extent", [(300, 10, 1), (2, 70, 9), (1, 1, 1), (1, 2, 20001)])
def test_accuracy(extent: tuple[int, int, int], ignores: bool, top_k: int) -> None:
    outer, channels, inner = extent
    rule, exact = LabelRule(ignores, 3, LossParameter.NONE), {"rtol": 0, "atol": 0}
    data = noise(*extent).round(1)  # ties
    labels = np.random.default_rng(1).integers(0, channels, (outer, inner)).astype(np.float32)
    labels[::7, 0], data[-1, -1, -1] = channels, np.nan
    hits, top = np.full(labels.size, -5, np.int32), np.full((), np.nan, np.float32)
    check_bodies(accuracy_hits, data, labels, *extent, top_k, hits, rule=rule, **exact)
    accuracy_hits(data, labels, *extent, top_k, hits, rule=rule)
    workspace = np.empty(2 * shares_of(1, hits.size), np.float32)
    check_bodies(accuracy_forward, hits, hits.size, workspace, top, **exact)
    check_bodies(accuracy_per_class, hits, labels, hits.size, np.full(channels, np.nan, np.float32), **exact)
