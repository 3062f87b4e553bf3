"""Reduction's operations."""

import numpy as np
import pytest

from caffepy.layers.basis.row_plan import shares_of
from caffepy.layers.utility.reduction import reduction_backward, reduction_forward
from caffepy.proto.caffe_pb2 import ReductionParameter
from tests.gpu_mode import check_bodies, noise

pytestmark = pytest.mark.usefixtures("gpu")


@pytest.mark.parametrize("kind", ReductionParameter.ReductionOp.values())
@pytest.mark.parametrize(("rows", "length"), [(1, 3001), (70, 33), (5, 1), (3, 0), (2, 25001)])
def test_reduction(rows: int, length: int, kind: int) -> None:
    data, diff, written = noise(rows, length), noise(rows), np.full((rows, length), np.nan, np.float32)
    top = np.full(rows, np.nan, np.float32)
    workspace = np.empty(rows * shares_of(rows, length), np.float32)
    check_bodies(reduction_forward, data, length, -0.5, workspace, top, kind=kind, atol=1e-3)
    check_bodies(reduction_backward, data, diff, length, -0.5, written, kind=kind)
