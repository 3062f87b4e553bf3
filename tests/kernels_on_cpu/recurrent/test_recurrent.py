"""One step of LSTM and of RNN, with and without what may be missing, and sums over steps."""

import numpy as np
import pytest

from caffepy.layers.recurrent.lstm import lstm_unit_backward, lstm_unit_forward
from caffepy.layers.recurrent.recurrent import sum_over_steps
from caffepy.layers.recurrent.rnn import rnn_unit_backward, rnn_unit_forward
from tests.gpu_mode import check_bodies

pytestmark = pytest.mark.usefixtures("gpu")

SIZES = [(1, 1), (3, 5), (7, 130)]


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("complete", [False, True])
@pytest.mark.parametrize(("num", "outputs"), SIZES)
def test_step_of_lstm(num: int, outputs: int, complete: bool) -> None:
    sums, cell, top, cont = floats(1, num, 4 * outputs), floats(1, num, outputs), floats(num, outputs), floats(num)
    more = (floats(num, 4 * outputs), floats(1, num, 4 * outputs)) if complete else (None, None)
    after, cont_next = (floats(1, num, outputs), floats(1, num)) if complete else (None, None)
    gates = sums if complete else floats(1, num, 4 * outputs)
    new = np.full_like(cell, np.nan)
    check_bodies(lstm_unit_forward, sums, *more, cont, cont_next, cell, outputs, gates, new, top, after)
    cell_diff = floats(num, outputs) if complete else None
    before_diff = cell_diff if complete else np.full_like(cell, np.nan)
    sums_diff = np.full_like(sums, np.nan)
    args = np.abs(gates) % 1, cont, cont_next, cell, top, floats(1, num, outputs), after, cell_diff, outputs
    check_bodies(lstm_unit_backward, *args, sums_diff, before_diff, rtol=1e-4, atol=1e-5)
    if not complete:
        check_bodies(lstm_unit_backward, *args, None, None)


@pytest.mark.parametrize("complete", [False, True])
@pytest.mark.parametrize(("num", "outputs"), SIZES)
def test_step_of_rnn(num: int, outputs: int, complete: bool) -> None:
    sums, hidden = floats(1, num, outputs), np.full((1, num, outputs), np.nan, np.float32)
    static, cont_next, after = (
        (floats(num, outputs), floats(1, num), floats(1, num, outputs)) if complete else [None] * 3
    )
    check_bodies(rnn_unit_forward, sums, sums, static, cont_next, outputs, hidden, after)
    check_bodies(rnn_unit_backward, sums, cont_next, sums, after, outputs, hidden)


@pytest.mark.parametrize("steps", [1, 9])
def test_sum_over_steps(steps: int) -> None:
    check_bodies(sum_over_steps, floats(steps, 3, 200), steps, np.full((3, 200), np.nan, np.float32))
