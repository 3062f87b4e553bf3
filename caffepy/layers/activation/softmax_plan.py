"""Softmax on a GPU: who works on a column, the channels at one place of (outer, channels, inner)."""

from typing import Any

from caffepy.kernels import THREADS, Launch

WARP = 32
MANY = 1 << 14
"""Columns that keep a GPU busy with a thread each."""


def softmax_forward_plan(bottom_data: Any, outer: int, channels: int, inner: int, top_data: Any) -> list[Launch]:
    """See `_columns`."""
    names = ("bottom_data", "outer", "channels", "inner", "top_data")
    return _columns("softmax_forward", outer, channels, inner, names)


def softmax_backward_plan(
    top_data: Any, top_diff: Any, outer: int, channels: int, inner: int, bottom_diff: Any
) -> list[Launch]:
    """See `_columns`."""
    names = ("top_data", "top_diff", "outer", "channels", "inner", "bottom_diff")
    return _columns("softmax_backward", outer, channels, inner, names)


def _columns(entry: str, outer: int, channels: int, inner: int, names: tuple[str, ...]) -> list[Launch]:
    """A thread per column where neighbours read neighbours' memory and all are busy; else a block per column."""
    columns = outer * inner
    if columns * channels == 0:
        return []
    if inner >= WARP and (columns >= MANY or channels < WARP):
        return [Launch(f"{entry}_by_threads", (-(-columns // THREADS),), (THREADS,), (columns, *names))]
    threads = min(THREADS, -(-channels // WARP) * WARP)
    return [Launch(entry, (columns,), (threads,), (columns, *names))]
