"""How much memory there is to take."""

import functools
import os


@functools.cache
def limit() -> int:
    """The machine's memory in bytes, or the control group's if that is less."""
    most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 1 << 62
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(path, encoding="ascii") as file:
                most = min(most, int(file.read()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return most


def too_much(size: int) -> str:
    """What an error says of so many bytes."""
    return f"needs {size / 1e9:,.1f} GB of memory, and there are {limit() / 1e9:,.1f} GB"
