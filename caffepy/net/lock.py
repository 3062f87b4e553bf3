"""One pass at a time: other threads wait, the same thread may not come in twice."""

import threading
from contextlib import ExitStack

from caffepy import device
from caffepy.errors import StateError


class PassLock:
    """`with lock:` around each pass, which runs on `pinned` where that is given."""

    def __init__(self, pinned: device.Device | None) -> None:
        self.pinned, self._exit = pinned, ExitStack()
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
            self.__exit__(None, None, None)
            raise
        if self.pinned is not None:
            self._exit.enter_context(device.pinned(self.pinned))

    def __exit__(self, *error: object) -> None:
        if self.pinned is not None:
            self._exit.close()
        self._owner = None
        self._lock.release()
