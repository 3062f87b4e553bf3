"""How many threads the BLAS of NumPy's products uses, while a pass runs on NumPy."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

log = logging.getLogger("caffepy")

_lock = threading.Lock()
_before: list[int] = []
"""How many threads each library had before the passes that run now."""
_running = 0


@contextmanager
def using_threads(number: int) -> Iterator[None]:
    """Let products use so many threads in a block, but never more than they did before, and then as many as they did.

    Where passes run side by side, the last to begin decides; the last to end puts things back. Does nothing for a BLAS
    that cannot be told, such as Apple's.
    """
    global _running
    libraries = _libraries()
    with _lock:
        if not _running:
            _before[:] = [library.get_num_threads() or 1 for library in libraries]
        _running += 1
        for library, most in zip(libraries, _before, strict=True):
            library.set_num_threads(min(number, most))
    try:
        yield
    finally:
        with _lock:
            _running -= 1
            if not _running:
                for library, most in zip(libraries, _before, strict=True):
                    library.set_num_threads(most)


@cache
def _libraries() -> list[Any]:
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        log.info("threadpoolctl is not installed: NumPy's BLAS uses as many threads as it likes")
        return []
    found: list[Any] = ThreadpoolController().select(user_api="blas").lib_controllers
    if not found:
        log.info("NumPy's BLAS is none whose threads can be set: it uses as many as it likes")
    return found
