"""pycaffe's functions of the whole process: logging, the count of parallel solvers, a stopwatch."""

import logging
import time

from caffepy import device
from caffepy.errors import ArgumentError, StateError
from caffepy.pycaffe.logs import GlogFormatter

_LEVELS = (logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)
_log = logging.getLogger("caffepy")
_handler = logging.StreamHandler()
_handler.setFormatter(GlogFormatter())


def init_log(level: int = 0, to_stderr: bool = True) -> None:
    """Write what caffepy logs to stderr, from `level` up: 0 (INFO), 1 (WARNING), 2 (ERROR) or 3 (FATAL)."""
    if not 0 <= level < len(_LEVELS):
        raise ArgumentError(f"init_log: level {level!r}; give 0 (INFO), 1 (WARNING), 2 (ERROR) or 3 (FATAL)")
    _log.setLevel(_LEVELS[level])
    _log.removeHandler(_handler)
    if to_stderr:
        _log.addHandler(_handler)


def log(message: str) -> None:
    """Log a line at INFO."""
    _log.info("%s", message)


def set_multiprocess(on: bool) -> None:
    """Accepted for scripts that train on several GPUs: solvers here are always processes."""


def has_nccl() -> bool:
    """Whether there is NCCL, by which solvers on several GPUs add up their gradients."""
    try:
        from cupy.cuda import nccl

        return bool(nccl.get_version())
    except Exception:  # CuPy raises what its loader met
        return False


class Timer:
    """A stopwatch that waits for the GPU: start(), stop(), then `ms`."""

    def __init__(self) -> None:
        self._started: float | None = None
        self._ms: float | None = None

    def start(self) -> None:
        """Begin to measure."""
        _finish()
        self._started, self._ms = time.perf_counter(), None

    def stop(self) -> None:
        """End it. Raises StateError where it was not started."""
        if self._started is None:
            raise StateError("Timer.stop: it was not started; call start() first")
        _finish()
        self._ms, self._started = 1e3 * (time.perf_counter() - self._started), None

    @property
    def ms(self) -> float:
        """Milliseconds between start and stop; while it runs, it is stopped."""
        if self._ms is None:
            self.stop()
        assert self._ms is not None
        return self._ms


def _finish() -> None:
    running = device.current()
    if not isinstance(running, device.Cpu):
        running.synchronize()
