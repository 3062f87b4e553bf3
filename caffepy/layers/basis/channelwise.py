"""What layers share that treat a blob as (num, channels, inner): one value per channel meets all of the channel's."""

from collections.abc import Iterator

import numpy as np

from caffepy.blob import Floats
from caffepy.layers.basis.elementwise import BLOCK

Index = tuple[slice, slice]


def channel_blocks(num: int, channels: int, inner: int) -> Iterator[Index]:
    """Walk a (num, channels, inner) array: indices of parts of about BLOCK elements, which stay in the cache."""
    nums = max(1, BLOCK // max(1, channels * inner))
    group = max(1, BLOCK // max(1, inner))
    for n in range(0, num, nums):
        for c in range(0, channels, group):
            yield slice(n, n + nums), slice(c, c + group)


def channel_sums(array: Floats) -> Floats:
    """(num, channels, inner) -> (channels): sum over num and inner."""
    rows = np.einsum("nci->nc", array)  # not BLAS: waking its threads costs more than such a sum
    sums: Floats = rows.sum(axis=0)
    return sums


def channel_products(first: Floats, second: Floats) -> Floats:
    """Two (num, channels, inner) -> (channels): sum of their products over num and inner."""
    rows = np.einsum("nci,nci->nc", first, second)
    sums: Floats = rows.sum(axis=0)
    return sums
