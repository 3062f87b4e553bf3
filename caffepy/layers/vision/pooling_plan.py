"""Launches of pooling: a thread for each strip of windows, a block for each tile of pixels, a warp for each plane."""

from typing import Any

from caffepy.errors import KernelError
from caffepy.kernels import Launch, Plan
from caffepy.layers.vision.window import PoolingWindow

EXTENT = ("height", "width", "pooled_height", "pooled_width")

SMALL = 32
"""Pixels of a window whose loops are written out."""
LARGE_PLANE = 1024
"""Values of a plane that one warp still reads fast enough, 32 to a lane."""
TILE_ROWS = 4
"""Pixels of a thread in a tile, one below the other: what is the same for all of them is computed once."""
TILE_WINDOWS = 2048
"""Windows that a tile keeps in shared memory: 16 KiB at 8 bytes each, so that 2048 threads still fit together."""


def per_window(entry: str, *names: str) -> Plan:
    """A thread for each strip of windows. `names` are the operation's arguments, the last is what is written."""

    def plan(*args: Any, window: PoolingWindow) -> list[Launch]:
        given, constants = dict(zip(names, args, strict=True)), _constants(window)
        planes, height, width = _planes(given, "pooled_height", "pooled_width")
        if not planes:
            return []
        grid, block = blocks(planes, -(-height // constants["strip"]), width, threads=128, widest=32)
        return [Launch(entry, grid, block, (planes, *_passed(names)), constants)]

    return plan


def per_pixel(entry: str, *names: str) -> Plan:
    """A block for each tile of pixels. `names` are the operation's arguments, the last is what is written."""

    def plan(*args: Any, window: PoolingWindow) -> list[Launch]:
        given, constants = dict(zip(names, args, strict=True)), _constants(window)
        planes, height, width = _planes(given, "height", "width")
        if not planes:
            return []
        strip = constants["strip"]
        for widest in (64, 32):
            grid, block = blocks(planes, -(-height // TILE_ROWS), width, threads=256, widest=widest)
            rows = _windows_around(block[1] * TILE_ROWS, window.kernel_h, window.stride_h)
            rows = -(-rows // strip) * strip
            columns = _windows_around(block[0], window.kernel_w, window.stride_w)
            if rows * columns <= TILE_WINDOWS:
                break
        if columns > TILE_WINDOWS:
            raise KernelError(
                f"{entry}: {columns} windows side by side see a pixel, on a GPU at most {TILE_WINDOWS} may"
            )
        depth = max(1, min(block[2], TILE_WINDOWS // (rows * columns)))
        grid, block = (-(-planes // depth), *grid[1:]), (*block[:2], depth)
        rows_at_once = min(rows, TILE_WINDOWS // (depth * columns))
        return [Launch(entry, grid, block, (planes, *_passed(names), rows, rows_at_once, columns), constants)]

    return plan


def per_plane(entry: str, *names: str) -> Plan:
    """A warp for each plane, or a block if it is large. `names` are the operation's arguments, one of them `inner`."""

    def plan(*args: Any) -> list[Launch]:
        given = dict(zip(names, args, strict=True))
        planes = min(array.size for array in args if not isinstance(array, int))  # a top's, one value a plane
        block = (32, 8) if given["inner"] <= LARGE_PLANE else (256, 1)
        return [Launch(entry, (-(-planes // block[1]),), block, (planes, *names))] if planes else []

    return plan


def blocks(
    planes: int, height: int, width: int, *, threads: int, widest: int
) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Grid and block for a thread at each place of planes of height x width, as kernels/basis/planes.cuh finds itself.

    A block is `widest` columns wide at most; more would read more at the upper and lower edges.
    """
    columns = _equal_parts(width, widest)
    rows = _equal_parts(height, threads // columns)
    depth = min(planes, threads // (columns * rows), 64)  # CUDA's most along z
    return (-(-planes // depth), -(-height // rows), -(-width // columns)), (columns, rows, depth)


def _equal_parts(extent: int, most: int) -> int:
    parts = -(-extent // most)
    return -(-extent // parts)


def _windows_around(pixels: int, kernel: int, stride: int) -> int:
    """How many windows along an axis there are of which so many neighbouring pixels can see any."""
    return -(-(pixels - 1) // stride) + (kernel - 1) // stride + 1


def _planes(given: dict[str, Any], height: str, width: str) -> tuple[int, int, int]:
    *_, written = given.values()
    return written.size // (given[height] * given[width]), given[height], given[width]


def _passed(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if name != "workspace")  # NumPy's


def _constants(window: PoolingWindow) -> dict[str, int]:
    """A strip of windows one below the other has rows in common; there must be enough of them to go round."""
    small = window.kernel_h * window.kernel_w <= SMALL
    strip = (4 if window.stride_h == 1 else 2) if small else 1
    return {"strip": strip, "tile_rows": TILE_ROWS, "tile_windows": TILE_WINDOWS}


max_pool_forward = per_window("max_pool_forward", "bottom_data", *EXTENT, "workspace", "mask", "top_data")
max_pool_backward = per_pixel("max_pool_backward", "top_diff", "mask", *EXTENT, "bottom_diff")
ave_pool_forward = per_window("ave_pool_forward", "bottom_data", *EXTENT, "workspace", "top_data")
ave_pool_backward = per_pixel("ave_pool_backward", "top_diff", *EXTENT, "workspace", "bottom_diff")

global_max_pool_forward = per_plane("global_max_pool_forward", "bottom_data", "inner", "mask", "top_data")
global_max_pool_backward = per_plane("global_max_pool_backward", "top_diff", "mask", "inner", "bottom_diff")
global_ave_pool_forward = per_plane("global_ave_pool_forward", "bottom_data", "inner", "top_data")
global_ave_pool_backward = per_plane("global_ave_pool_backward", "top_diff", "inner", "bottom_diff")

stochastic_pool_forward = per_window("stochastic_pool_forward", "bottom_data", "seed", *EXTENT, "mask", "top_data")
weighted_pool_forward = per_window("weighted_pool_forward", "bottom_data", *EXTENT, "top_data")
weighted_pool_backward = per_pixel("weighted_pool_backward", "bottom_data", "top_diff", *EXTENT, "bottom_diff")
