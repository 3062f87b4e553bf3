"""Launches of a block for each row of values that belong together."""

from caffepy.kernels import THREADS, Launch

WARP = 32
SHARE, MOST_SHARES = 8192, 1024
"""A row is cut into shares of at least that many values, as long as there are no more shares of all rows."""


def shares_of(rows: int, length: int) -> int:
    """How many blocks work on one row; above 1, what each of them finds is put together by `block_per_row`."""
    return max(1, min(length // SHARE, MOST_SHARES // max(1, rows)))


def block_per_share(entry: str, names: tuple[str, ...], rows: int, shares: int) -> list[Launch]:
    """`rows * shares` blocks; `names` are the kernel's arguments behind `count`, the blocks, and before `shares`."""
    count = rows * shares
    return [Launch(entry, (count,), (THREADS,), (count, *names, shares))] if count else []


def block_per_row(
    entry: str, names: tuple[str | int, ...], rows: int, length: int, *, most_threads: int = THREADS
) -> list[Launch]:
    """`rows` blocks, as wide as a row is long; `names` are the kernel's arguments behind `count`, the rows."""
    threads = max(WARP, min(most_threads, -(-length // WARP) * WARP))
    return [Launch(entry, (rows,), (threads,), (rows, *names))] if rows else []
