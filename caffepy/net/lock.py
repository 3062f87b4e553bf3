"""One pass at a time: other threads wait, the same thread may not come in twice."""

import sys
import threading
from contextlib import ExitStack
from types import TracebackType

from caffepy import device, limits
from caffepy.errors import CaffeError, InternalError, StateError

_OURS = {"caffepy", "numpy", "h5py", "google", "PIL", "cupy", *sys.stdlib_module_names}
"""Packages whose code runs in a pass without a user having written it."""


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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.pinned is not None:
            self._exit.close()
        limits.IN_FORCE.reset(self._before)
        self._release()
        told = (CaffeError, NotImplementedError)  # the latter for Python layers without backward, as in pycaffe
        if isinstance(error, Exception) and not isinstance(error, told) and _is_ours(trace):
            raise _told(error) from error

    def _release(self) -> None:
        self._owner = None
        self._lock.release()


def _is_ours(trace: TracebackType | None) -> bool:
    """Whether no code of a user's, such as a Python layer or a callback, took part in what was raised."""
    while trace is not None:
        package = str(trace.tb_frame.f_globals.get("__name__", "")).split(".")[0]
        if package == "__main__" or package not in _OURS:
            return False
        trace = trace.tb_next
    return True


def _told(error: Exception) -> CaffeError:
    if isinstance(error, MemoryError):
        return StateError(f"memory is out ({error or 'no more to be had'}); a memory_limit refuses sooner")
    return InternalError(
        f"{type(error).__name__}: {error}: this is a fault of caffepy, or of a file that it does not refuse as "
        "it should; please report it with the lines above"
    )
