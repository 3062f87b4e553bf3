"""Products of plain matrices by the library, so that one pool of threads does all that is done by several."""

import functools
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from caffepy.device.onednn.handles import address, library
from caffepy.device.onednn.work import is_small


class Product:
    """total (rows, columns) += left (inner, rows), transposed, times right (inner, columns), bound to their memory.

    run and threads are as those of `Call`
    """

    __slots__ = ("_keep", "name", "run", "threads")

    def __init__(self, left: NDArray[Any], right: NDArray[Any], total: NDArray[Any], inner: int) -> None:
        rows, columns = left.size // inner, right.size // inner
        self.name, self._keep = "sgemm", (left, right, total)
        shapes = (inner, rows), (rows, columns), (inner, columns)
        self.threads = 1 if is_small(shapes, product=True) else library().threads
        at = [address(array) for array in self._keep]
        self.run: Callable[[], int] = functools.partial(
            library().c.dnnl_sgemm,
            *(b"T", b"N", rows, columns, inner),
            *(1.0, at[0], rows, at[1], columns, 1.0, at[2], columns),
        )
