"""Whether data layers leave out records that cannot be read."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_skipping: ContextVar[bool] = ContextVar("caffepy_skip_bad_records", default=False)


@contextmanager
def skip_bad_records(skip: bool = True) -> Iterator[None]:
    """Data layers of nets built in this block leave out what cannot be read, each with a warning, and count it.

    Their `skipped` tells how many. A batch stays full: a later record takes the place.
    """
    token = _skipping.set(skip)
    try:
        yield
    finally:
        _skipping.reset(token)


def skipping() -> bool:
    """What holds for a layer that is being set up."""
    return _skipping.get()
