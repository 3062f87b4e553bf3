"""One pass at a time: other threads wait, the same thread may not come in twice."""

import threading
from contextlib import ExitStack

from caffepy import device, limits
from caffepy.errors import StateError


class PassLock:
    """`with lock:` around each pass, which runs on `pinned` where that is given, and within the net's limits."""

    def __init__(self, pinned: device.Device | None, policy: limits.Limits) -> None:
        self.pinned, self.limits, self._exit = pinned, policy, ExitStack()
        self._lock = threading.Lock()
        self._owner: int | None = None
        self.closed = False

    def check_open(self) -> None:
        """Raise StateError once the net is closed."""
        if self.closed:
            raise StateError("this net is closed: its memory has been given back; build it again")

    def __enter__(self) -> None:
        if self._owner == threading.get_ident():
            raise StateError("this net is in the middle of a pass: a layer or callback may not start another one")
        self._lock.acquire()
        self._owner = threading.get_ident()
        try:
            self.check_open()
        except StateError:
            self._release()
            raise
        self._before = limits.IN_FORCE.set(self.limits)
        if self.pinned is not None:
            self._exit.enter_context(device.pinned(self.pinned))

    def __exit__(self, *error: object) -> None:
        if self.pinned is not None:
            self._exit.close()
        limits.IN_FORCE.reset(self._before)
        self._release()

    def _release(self) -> None:
        self._owner = None
        self._lock.release()
