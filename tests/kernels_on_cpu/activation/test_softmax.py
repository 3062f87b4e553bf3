"""Softmax: columns by blocks and by threads."""

import numpy as np
import pytest

from caffepy.layers.activation import softmax_plan
from caffepy.layers.activation.softmax import softmax_backward, softmax_forward
from tests.gpu_mode import check_bodies

BY_BLOCKS = [(3, 1000, 1), (2, 5, 7), (2, 257, 3), (1, 40, 36), (4, 1, 1)]
BY_THREADS = [(3, 21, 50), (1, 31, 300), (2, 1, 32)]


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("extent", BY_BLOCKS + BY_THREADS)
def test_softmax(extent: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    scores, diff = (10 * rng.standard_normal(extent).astype(np.float32) for _ in range(2))
    written = np.full(extent, np.nan, np.float32)
    check_bodies(softmax_forward, scores, *extent, written)
    check_bodies(softmax_forward, scores, *extent, scores)
    softmax_forward(scores, *extent, scores)
    check_bodies(softmax_backward, scores, diff, *extent, written, atol=1e-5)
    check_bodies(softmax_backward, scores, diff, *extent, diff, atol=1e-5)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("extent", [(8, 40, 1), (1, 20, 40)])
def test_scores_that_are_no_numbers(extent: tuple[int, int, int]) -> None:
    scores = np.random.default_rng(0).standard_normal(extent).astype(np.float32)
    columns = scores.transpose(0, 2, 1).reshape(-1, extent[1])
    columns[0, 3], columns[1, 4], columns[2] = np.nan, np.inf, -np.inf
    columns[3, 1:], columns[4, ::2], columns[5], columns[6] = -np.inf, -1000, 1000, 3e38
    scores = columns.reshape(extent[0], extent[2], extent[1]).transpose(0, 2, 1).copy()
    check_bodies(softmax_forward, scores, *extent, np.zeros(extent, np.float32))


def test_who_works_on_a_column() -> None:
    def launch(*extent: int):
        (launch,) = softmax_plan.softmax_forward_plan(None, *extent, None)
        return launch.entry, launch.grid, launch.block

    assert launch(3, 1000, 1) == ("softmax_forward", (3,), (256,))
    assert launch(3, 10, 1) == ("softmax_forward", (3,), (32,))
    assert launch(1, 21, 500 * 500) == ("softmax_forward_by_threads", (977,), (256,))
    assert launch(1, 1000, 8 * 8) == ("softmax_forward", (64,), (256,))
    assert launch(1000, 1000, 64) == ("softmax_forward_by_threads", (250,), (256,))
    assert all(launch(*extent)[0] == "softmax_forward" for extent in BY_BLOCKS)
    assert all(launch(*extent)[0] == "softmax_forward_by_threads" for extent in BY_THREADS)
