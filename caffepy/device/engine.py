"""Which library's code passes on the CPU run: oneDNN's where it can be loaded, NumPy's otherwise or if asked for."""

import logging
import os
from functools import cache

from caffepy.device.onednn import library
from caffepy.errors import ArgumentError, DeviceError

log = logging.getLogger("caffepy")

ENGINES = "auto", "onednn", "numpy"
_asked: str | None = None


def set_cpu_engine(name: str) -> None:
    """Choose what passes on the CPU run on: "onednn", "numpy", or "auto", oneDNN where it can be loaded.

    The environment's CAFFEPY_CPU says the same from the start. Raises DeviceError, with the reason, where oneDNN is
    asked for and cannot be used, ArgumentError for other names. Results differ by rounding only.
    """
    global _asked
    if name not in ENGINES:
        raise ArgumentError(f"set_cpu_engine: unknown engine {name!r}; there are {', '.join(ENGINES)}")
    if name == "onednn" and isinstance(reason := library.load(), str):
        raise DeviceError(f"oneDNN cannot be used: {reason}")
    _asked = name


def cpu_engine() -> str:
    """What passes on the CPU run on now: "onednn" or "numpy"."""
    asked = _asked or _of_environment()
    if asked == "auto":
        return _automatic()
    return asked


def cpu_engine_reason() -> str:
    """Which engine it is, its version and where it was found, or why it is NumPy."""
    if cpu_engine() == "onednn":
        return str(library.load())
    found = library.load()
    return f"NumPy: {found}" if isinstance(found, str) else "NumPy, as asked for"


@cache
def _of_environment() -> str:
    name = os.environ.get("CAFFEPY_CPU", "auto").lower()
    if name not in ENGINES:
        raise ArgumentError(f"the environment's CAFFEPY_CPU is {name!r}; there are {', '.join(ENGINES)}")
    if name == "onednn" and isinstance(reason := library.load(), str):
        raise DeviceError(f"the environment's CAFFEPY_CPU asks for oneDNN, which cannot be used: {reason}")
    return name


@cache
def _automatic() -> str:
    found = library.load()
    if isinstance(found, str):
        log.info("passes on the CPU run on NumPy: %s", found)
        return "numpy"
    log.info("passes on the CPU run on %s", found)
    return "onednn"
