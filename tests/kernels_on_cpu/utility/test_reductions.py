"""Operations that make one number of many: Reduction, ArgMax, Accuracy."""

import numpy as np
import pytest

from caffepy.layers.basis.labels import LabelRule
from caffepy.layers.basis.row_plan import shares_of
from caffepy.layers.loss.accuracy import accuracy_forward, accuracy_hits, accuracy_per_class
from caffepy.layers.utility.argmax import argmax_forward
from caffepy.layers.utility.reduction import reduction_backward, reduction_forward
from caffepy.proto.caffe_pb2 import LossParameter, ReductionParameter
from tests.gpu_mode import check_bodies

pytestmark = pytest.mark.usefixtures("gpu")


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("kind", ReductionParameter.ReductionOp.values())
@pytest.mark.parametrize(("rows", "length"), [(1, 3001), (70, 33), (5, 1), (3, 0), (2, 25001)])
def test_reduction(rows: int, length: int, kind: int) -> None:
    data, diff, written = noise(rows, length), noise(rows), np.full((rows, length), np.nan, np.float32)
    top = np.full(rows, np.nan, np.float32)
    workspace = np.empty(rows * shares_of(rows, length), np.float32)
    check_bodies(reduction_forward, data, length, -0.5, workspace, top, kind=kind, atol=1e-3)
    check_bodies(reduction_backward, data, diff, length, -0.5, written, kind=kind)


@pytest.mark.parametrize(("places", "values"), [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("extent", [(3, 1001, 1, 5), (2, 21, 15, 1), (2, 4, 3, 4)])
def test_argmax(extent: tuple[int, int, int, int], places: bool, values: bool) -> None:
    outer, channels, inner, top_k = extent
    data = noise(outer, channels, inner).round(1)  # ties
    data[0, 2, 0], data[0, 1, 0], data[-1, 3, 0] = np.nan, -0.0, -np.inf
    top = np.full((outer, places + values, top_k, inner), np.nan, np.float32)
    check_bodies(argmax_forward, data, *extent, top, places=places, values=values, rtol=0, atol=0)


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
