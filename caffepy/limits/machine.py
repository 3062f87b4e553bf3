"""How much memory the process may still take."""

import os
import re
import time
from pathlib import Path

try:
    import resource
except ImportError:  # of Unix only
    resource = None  # type: ignore[assignment]

_UNLIMITED = 1 << 62
_STALE = 1.0  # seconds
_CONTROL_GROUPS = {
    "": (Path("/sys/fs/cgroup"), ("memory.max", "memory.current")),
    "memory": (Path("/sys/fs/cgroup/memory"), ("memory.limit_in_bytes", "memory.usage_in_bytes")),
}
"""By the controllers' names in /proc/self/cgroup: versions 2 and 1."""

_measured: tuple[float, int] | None = None


def memory_left() -> int:
    """Bytes that the machine, and every control group that the process is in, have free or can free.

    Where the process's address space is limited, no more than is left of that. Measured once a second at most.
    """
    global _measured
    now = time.monotonic()
    if _measured is None or now - _measured[0] > _STALE:
        _measured = now, min(_machines(), _address_space(), *_groups())
    return _measured[1]


def _machines() -> int:
    fields = dict(re.findall(r"(?m)^(\w+):\s+(\d+) kB$", _text("/proc/meminfo")))
    if "MemAvailable" in fields:
        return 1024 * (int(fields["MemAvailable"]) + int(fields.get("SwapFree", 0)))
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else _UNLIMITED


def _address_space() -> int:
    pages = _text("/proc/self/statm").split()
    soft = resource.getrlimit(resource.RLIMIT_AS)[0] if resource and pages else -1
    return _UNLIMITED if soft < 0 else max(0, soft - int(pages[0]) * os.sysconf("SC_PAGE_SIZE"))


def _groups() -> list[int]:
    """What each group that the process is in may still take: files' pages that nobody has mapped make room."""
    left = [_UNLIMITED]
    for controllers, path in re.findall(r"(?m)^\d+:([^:]*):(/.*)$", _text("/proc/self/cgroup")):
        if controllers not in _CONTROL_GROUPS:
            continue
        root, names = _CONTROL_GROUPS[controllers]
        group = root.joinpath(path.strip("/"))
        for each in (group, *group.parents):
            limit, current = (_text(each / name).strip() for name in names)
            if root in (each, *each.parents) and limit.isdecimal() and current.isdecimal():
                idle = re.findall(r"(?m)^(?:total_)?inactive_file (\d+)$", _text(each / "memory.stat"))
                left.append(max(0, int(limit) - int(current) + int(idle[-1] if idle else 0)))
    return left


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
