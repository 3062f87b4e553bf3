"""Launches of a block for each row of values that belong together."""

from caffepy.kernels import THREADS, Launch

WARP = 32


def block_per_row(
    entry: str, names: tuple[str, ...], rows: int, length: int, *, most_threads: int = THREADS
) -> list[Launch]:
    """`rows` blocks, as wide as a row is long; `names` are the kernel's arguments behind `count`, the rows."""
    threads = max(WARP, min(most_threads, -(-length // WARP) * WARP))
    return [Launch(entry, (rows,), (threads,), (rows, *names))] if rows else []
