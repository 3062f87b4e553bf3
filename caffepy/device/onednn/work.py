"""How much work a call is, so that small work does not wake a second thread."""

import math
from collections.abc import Sequence

SMALL = 1 << 18
"""Bytes to be read and written, up to which one thread does it alone: 10 to 20 microseconds of one core. To hand a part
to another thread and to wait for it costs a quarter of that where a core is idle, and milliseconds where none is."""
_OPERATIONS = 12
"""Floating-point operations of a product that take a core as long as a byte."""


def is_small(shapes: Sequence[Sequence[int]], *, product: bool = False) -> bool:
    """Whether one thread does work on arrays of these shapes alone.

    product   they are images, weights and results, or their diffs, in this order: each result is a sum of as many
              products as there are weights for one output
    """
    work = 4 * sum(math.prod(shape) for shape in shapes)
    if product and len(shapes) > 2:
        outputs = shapes[-1][1] if len(shapes[-1]) > 1 else 1
        work += 2 * math.prod(shapes[-1]) * math.prod(shapes[1]) // (max(1, outputs) * _OPERATIONS)
    return work <= SMALL
