"""What a map looks like: where its values lie, and how they are spread."""

import numpy as np
import numpy.typing as npt

from caffepy.errors import ArgumentError
from caffepy.saliency.metrics.trial import as_map
from caffepy.saliency.parameters import whole_number

Box = tuple[int, int, int, int]
"""left, top, right, bottom, right and bottom outside."""


def pointing_game(values: npt.ArrayLike, box: Box, tolerance: int = 15) -> bool:
    """Whether the greatest value lies in the box, or at most `tolerance` pixels off (Zhang et al. 2016, 1608.00507)."""
    array = as_map(values)
    left, top, right, bottom = _checked(box, array.shape)
    y, x = (int(at) for at in np.unravel_index(int(array.argmax()), array.shape))
    across = max(left - x, 0, x - (right - 1))
    down = max(top - y, 0, y - (bottom - 1))
    return bool(across**2 + down**2 <= tolerance**2)


def energy_inside(values: npt.ArrayLike, box: Box) -> float:
    """The box's part of the map's positive values (Wang et al. 2020, arXiv 1910.01279)."""
    array = np.maximum(as_map(values), 0)
    left, top, right, bottom = _checked(box, array.shape)
    return float(array[top:bottom, left:right].sum() / max(float(array.sum()), 1e-30))


def intersection_over_union(values: npt.ArrayLike, box: Box, quantile: float | None = None) -> float:
    """Of the box and the box around what lies above a quantile of the map; default: above half its maximum."""
    array = as_map(values)
    left, top, right, bottom = _checked(box, array.shape)
    if quantile is not None and not 0 <= quantile < 1:
        raise ArgumentError(f"quantile is {quantile}; give 0 to less than 1")
    above = array > (array.max() / 2 if quantile is None else np.quantile(array, quantile))
    rows, columns = np.flatnonzero(above.any(axis=1)), np.flatnonzero(above.any(axis=0))
    if not rows.size:
        return 0.0
    common_width = min(right, columns[-1] + 1) - max(left, columns[0])
    common_height = min(bottom, rows[-1] + 1) - max(top, rows[0])
    common = max(0, common_width) * max(0, common_height)
    own = (columns[-1] + 1 - columns[0]) * (rows[-1] + 1 - rows[0])
    return float(common / (own + (right - left) * (bottom - top) - common))


def sparseness(values: npt.ArrayLike) -> float:
    """Gini's index of the absolute values: 0 where all are equal, 1 where one has all (Chalasani et al. 2020)."""
    sizes = np.sort(np.abs(as_map(values)).ravel().astype(np.float64))
    if not sizes.sum():
        return 0.0
    ranks = np.arange(1, sizes.size + 1)
    return float(((2 * ranks - sizes.size - 1) * sizes).sum() / (sizes.size * sizes.sum()))


def complexity(values: npt.ArrayLike) -> float:
    """The entropy of the absolute values' shares, in nats: the less, the simpler (Bhatt, Weller & Moura 2020)."""
    sizes = np.abs(as_map(values)).ravel().astype(np.float64)
    if not sizes.sum():
        return 0.0
    shares = sizes[sizes > 0] / sizes.sum()
    return float(-(shares * np.log(shares)).sum())


def _checked(box: Box, shape: tuple[int, ...]) -> Box:
    if len(box) != 4:
        raise ArgumentError(f"box is {box!r}; give left, top, right and bottom")
    left, top, right, bottom = (whole_number("an edge of the box", edge) for edge in box)
    if not (0 <= left < right <= shape[1] and 0 <= top < bottom <= shape[0]):
        raise ArgumentError(f"box {box} (left, top, right, bottom) does not lie in the map, (height, width) {shape}")
    return left, top, right, bottom
