"""Memory of the host whose contents are given back to the system while its addresses stay."""

import ctypes
import functools
import mmap
import sys
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

LEAST = 1 << 20
"""Bytes of an array for which it is worth the while."""


def can_give_back(array: NDArray[Any]) -> bool:
    """Whether that can be done, and pays: memory that NumPy itself took, on Linux."""
    return sys.platform == "linux" and array.flags.owndata and array.nbytes >= LEAST


def giving_back(array: NDArray[Any], first: int, last: int) -> Callable[[], object]:
    """What gives back the whole pages among the array's bytes from `first` to before `last`; they are zero then.

    It refers to the array by address alone.
    """
    at: int = array.__array_interface__["data"][0]
    start = -(-(at + first) // mmap.PAGESIZE) * mmap.PAGESIZE
    size = (at + last) // mmap.PAGESIZE * mmap.PAGESIZE - start
    return functools.partial(_madvise(), start, max(0, size), mmap.MADV_DONTNEED)


@functools.cache
def _madvise() -> Callable[..., object]:
    found = ctypes.CDLL(None).madvise
    found.argtypes, found.restype = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int), None
    return found
