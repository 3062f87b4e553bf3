"""How much memory there is to take."""

import functools
import os
import re

from caffepy.errors import ArgumentError

_VARIABLE = "CAFFEPY_MEMORY_LIMIT"
_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def limit() -> int:
    """In bytes what CAFFEPY_MEMORY_LIMIT says, 8GB for example; else the machine's memory, or its control group's.

    Raises ArgumentError for a limit that is none.
    """
    if not (given := os.environ.get(_VARIABLE)):
        return _machines()
    match = re.fullmatch(r"(\d+(?:\.\d*)?)\s*([KMGT]?B?)", given.strip().upper())
    unit = match and match[2].rstrip("B") + "B" * bool(match[2].rstrip("B"))
    if match is None or unit not in _UNITS:
        raise ArgumentError(f"{_VARIABLE} is {given!r}; give bytes, or 500MB, or 8GB")
    return int(float(match[1]) * _UNITS[unit])


@functools.cache
def _machines() -> int:
    most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 1 << 62
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(path, encoding="ascii") as file:
                most = min(most, int(file.read()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return most


def too_much(size: int, most: int) -> str:
    """What an error says of so many bytes."""
    return f"needs {shown(size)} of memory, and there are {shown(most)}"


def shown(size: int) -> str:
    """In MB or GB."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e8 else f"{size / 1e6:,.3f} MB"
