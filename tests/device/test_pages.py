"""Pages of arrays that are given back: what is in them, and what stands beside them."""

import sys

import numpy as np
import pytest

from caffepy.device.pages import LEAST, can_give_back, giving_back


@pytest.mark.skipif(sys.platform != "linux", reason="memory is given back on Linux")
def test_whole_pages_are_zero_and_all_else_stays() -> None:
    array = np.ones(LEAST, np.float32)
    assert can_give_back(array)
    giving_back(array, 100_001, 3_000_003)()
    held = np.flatnonzero(array) * 4
    assert set(array) == {0, 1}
    assert held[held <= 100_000].size == 100_000 // 4 + 1
    assert held[held >= 3_000_003].size == LEAST - 3_000_003 // 4 - 1
    assert (array == 0).sum() * 4 > 2_900_002 - 2 * 65536  # bytes but for a page on each side
    array[...] = 2
    assert (array == 2).all()


@pytest.mark.skipif(sys.platform != "linux", reason="memory is given back on Linux")
def test_less_than_a_page_is_left() -> None:
    array = np.ones(LEAST, np.float32)
    giving_back(array, 8, 4000)()
    assert array.all()


def test_what_is_not_numpy_s_own_or_small_stays() -> None:
    assert not can_give_back(np.frombuffer(bytearray(2 * LEAST), np.uint8))
    assert not can_give_back(np.ones(LEAST, np.float32)[1:])
    assert not can_give_back(np.ones(1000, np.float32))
