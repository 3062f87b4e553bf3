"""The process's memory, as Linux tells it in /proc; None elsewhere."""

from pathlib import Path

_PROC = Path("/proc/self")


def now() -> int | None:
    """Bytes that are resident."""
    return _status("VmRSS")


def peak() -> int | None:
    """The most that there have been since `forget_peak`."""
    return _status("VmHWM")


def forget_peak() -> None:
    """Let the peak be what there is now."""
    try:
        (_PROC / "clear_refs").write_text("5")
    except OSError:
        return


def _status(field: str) -> int | None:
    try:
        lines = (_PROC / "status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(field)), None)
