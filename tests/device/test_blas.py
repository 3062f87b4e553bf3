"""How many threads NumPy's products use while passes run."""

import sys
from collections.abc import Iterator

import numpy as np
import pytest

from caffepy.device import blas


class Library:
    """A BLAS that remembers what it was told."""

    def __init__(self, number: int) -> None:
        self.number = number

    def get_num_threads(self) -> int:
        return self.number

    def set_num_threads(self, number: int) -> None:
        self.number = number


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch) -> list[Library]:
    found = [Library(4), Library(1)]
    monkeypatch.setattr(blas, "_libraries", lambda: found)
    return found


@pytest.fixture
def unknown() -> Iterator[None]:
    """Libraries are looked for anew, here and afterwards."""
    blas._libraries.cache_clear()
    yield
    blas._libraries.cache_clear()


def numbers(libraries: list[Library]) -> list[int]:
    return [library.number for library in libraries]


def test_it_uses_as_many_as_it_is_told_but_never_more_than_before(libraries: list[Library]) -> None:
    for number, expected in ((2, [2, 1]), (1, [1, 1]), (8, [4, 1])):
        with blas.using_threads(number):
            assert numbers(libraries) == expected
        assert numbers(libraries) == [4, 1]


def test_an_error_puts_it_back_too(libraries: list[Library]) -> None:
    with pytest.raises(ZeroDivisionError), blas.using_threads(1):
        raise ZeroDivisionError
    assert numbers(libraries) == [4, 1]


def test_of_passes_side_by_side_the_last_to_end_puts_it_back(libraries: list[Library]) -> None:
    first, second = blas.using_threads(2), blas.using_threads(1)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert numbers(libraries) == [1, 1]
    second.__exit__(None, None, None)
    assert numbers(libraries) == [4, 1]


@pytest.mark.usefixtures("unknown")
def test_the_library_of_numpy_is_found() -> None:
    if np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"] in ("accelerate", "none"):  # type: ignore[index]
        pytest.skip("NumPy's BLAS here cannot be told how many threads to use")
    (library, *_) = blas._libraries()
    before = library.get_num_threads()
    with blas.using_threads(1):
        assert library.get_num_threads() == 1
    assert library.get_num_threads() == before


@pytest.mark.usefixtures("unknown")
def test_without_threadpoolctl_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    with blas.using_threads(1):
        assert blas._libraries() == []
