"""Split: tops are the bottom; diffs add up."""

import numpy as np
import pytest

from tests.layers.runner import build


@pytest.mark.parametrize("tops", [1, 2, 3, 5])
def test_diffs_add_up_and_tops_share_the_data(tops):
    rng = np.random.default_rng(1)
    case = build('type: "Split" bottom: "x" ' + " ".join(f'top: "y{i}"' for i in range(tops)), [(2, 3)])
    case.bottom[0].data[...] = rng.standard_normal((2, 3))
    for top in case.forward():
        assert np.shares_memory(top, case.bottom[0].data)
    diffs = rng.standard_normal((tops, 2, 3)).astype(np.float32)
    case.bottom[0].diff[...] = 99
    for top, diff in zip(case.top, diffs, strict=True):
        top.diff[...] = diff
    case.backward([False])
    assert (case.bottom[0].diff == 99).all()
    np.testing.assert_allclose(case.backward()[0], diffs.sum(axis=0), 1e-5, 1e-6)
    for top, diff in zip(case.top, diffs, strict=True):
        np.testing.assert_array_equal(top.diff, diff)
