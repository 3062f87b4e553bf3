"""What a model may do to the process that loads and runs it: one policy, in force while its net is built and runs."""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from caffepy.errors import ArgumentError, MissingFileError, NotAllowedError
from caffepy.limits.machine import memory_left

__all__ = [
    "COMPUTES",
    "ENTRY",
    "EVERYTHING",
    "FORMATS",
    "IN_FORCE",
    "PIXELS",
    "STEP",
    "Limits",
    "applied",
    "counted",
    "given_memory",
    "in_force",
    "limits_of",
    "memory_left",
    "most_memory",
    "most_work",
    "shown",
    "too_much",
    "too_much_work",
]

PathLike = str | os.PathLike[str]

_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_WORK = 10**15
STEP = 20_000
"""What a step of a loop in Python, which calls NumPy once or twice, counts as work."""
ENTRY = 200
"""What an entry of a list counts."""

EVERYTHING = "all"
"""As an entry of `allowed`: any module and any file."""
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")  # others are seldom tested, or run programs
PIXELS = 89_478_485  # height times width; from here on Pillow itself warns


@dataclass(frozen=True)
class Limits:
    """What a model may do to the process that loads and runs it, beyond computing.

    allowed   modules that its Python layers may import, by name, and files that may be read and written because it
              names them: a path with a slash in it (or . and ..), which stands for a file or for all that is in a
              folder. "all" is any of them, which is pycaffe's way; () is none.
    memory    the most bytes that a pass may take; None: CAFFEPY_MEMORY_LIMIT, or what there is
    work      the most that a forward pass may have to do, in multiplications, of which a core does a billion or more a
              second; steps of loops in Python count as what they cost. None: CAFFEPY_WORK_LIMIT, or 10^15, which is
              days
    formats   of pictures that are decoded, by Pillow's names
    pixels    of a picture, at most: its height times its width
    """

    allowed: tuple[str, ...] = (EVERYTHING,)
    memory: int | None = None
    work: int | None = None
    formats: tuple[str, ...] = FORMATS
    pixels: int = PIXELS

    def check_module(self, name: str) -> None:
        """Raise NotAllowedError for a module that may not be imported."""
        if EVERYTHING not in self.allowed and name not in self.allowed:
            raise NotAllowedError(
                f"would import the module {name!r}, which is code that runs here; look at what it does, then allow it: "
                f"{_how(name)}"
            )

    def check_file(self, path: PathLike) -> None:
        """Raise NotAllowedError for a file that may not be touched, wherever its links lead."""
        if EVERYTHING in self.allowed:
            return
        real = _real(path)
        folders = [_real(entry) for entry in self.allowed if _is_path(entry)]
        if not any(os.path.commonpath((folder, real)) == folder for folder in folders):
            shown = os.fspath(path)
            entry = shown if _is_path(shown) else f"./{shown}"
            raise NotAllowedError(f"would open the file {shown!r}, which the model names; allow it: {_how(entry)}")


COMPUTES = Limits(allowed=())
"""What an untrusted model may do: compute."""


def limits_of(limits: Limits | None, *, untrusted: bool, allowed: Iterable[str], memory: int | None) -> Limits:
    """The policy given, or the one that these arguments of a Net say. Raises ArgumentError where both are given."""
    names = (allowed,) if isinstance(allowed, str) else tuple(allowed)
    if limits is None:
        return Limits(names if untrusted else (EVERYTHING,), memory)
    if untrusted or names or memory is not None:
        raise ArgumentError("give limits, or untrusted, allowed and memory_limit, which are short for them; not both")
    return limits


IN_FORCE: ContextVar[Limits] = ContextVar("caffepy_limits", default=Limits())  # noqa: B039 - it is frozen
"""The policy of the net that is being built or runs, on this thread; else none but of pictures."""


def in_force() -> Limits:
    """The policy that holds here."""
    return IN_FORCE.get()


@contextmanager
def applied(limits: Limits) -> Iterator[None]:
    """Meanwhile, this policy is in force on this thread, and on threads started with a copy of its context."""
    token = IN_FORCE.set(limits)
    try:
        yield
    finally:
        IN_FORCE.reset(token)


def _is_path(entry: str) -> bool:
    return "/" in entry or os.sep in entry or entry in (".", "..")


def _real(path: PathLike) -> str:
    try:
        return os.path.realpath(path)
    except ValueError as error:  # a NUL in it
        raise MissingFileError(f"{os.fspath(path)!r} is no path: {error}") from error


def _how(entry: str) -> str:
    return f"allowed=[{entry!r}] in Python, --allow {entry} on the command line"


# ---- memory


def most_memory() -> int:
    """In bytes what is given, else what is left. Raises as `given_memory`."""
    given = given_memory()
    return memory_left() if given is None else given


def given_memory() -> int | None:
    """In bytes what the policy in force says, else CAFFEPY_MEMORY_LIMIT (8GB, for example), if it is set.

    Raises ArgumentError for a limit that is none.
    """
    if (given := in_force().memory) is not None:
        return given
    if not (text := os.environ.get("CAFFEPY_MEMORY_LIMIT")):
        return None
    match = re.fullmatch(r"(\d+(?:\.\d*)?)\s*([KMGT]?B?)", text.strip().upper())
    unit = match and match[2].rstrip("B") + "B" * bool(match[2].rstrip("B"))
    if match is None or unit not in _UNITS:
        raise ArgumentError(f"CAFFEPY_MEMORY_LIMIT is {text!r}; give bytes, or 500MB, or 8GB")
    return int(float(match[1]) * _UNITS[unit])


def most_work() -> int:
    """What the policy in force says, else CAFFEPY_WORK_LIMIT (1e12, for example), else 10^15.

    Raises ArgumentError for a limit that is none.
    """
    if (given := in_force().work) is not None:
        return given
    text = os.environ.get("CAFFEPY_WORK_LIMIT") or str(_WORK)
    try:
        return int(float(text))
    except (ValueError, OverflowError):
        raise ArgumentError(f"CAFFEPY_WORK_LIMIT is {text!r}; give a number of multiplications, or 1e12") from None


def too_much(size: int, most: int) -> str:
    """What an error says of so many bytes."""
    return f"needs {shown(size)} of memory, and there are {shown(most)}"


def shown(size: int) -> str:
    """In MB, GB or TB."""
    if size >= 10**18:
        return f"{counted(size)} bytes"
    for unit, name in ((10**12, "TB"), (10**9, "GB")):
        if size >= unit / 10:
            return f"{size / unit:,.1f} {name}"
    return f"{size / 1e6:,.3f} MB"


def counted(number: int) -> str:
    """With two digits where there are many: 4.3e12. It may be larger than any float."""
    power = len(str(number)) - 1
    return f"{number:,}" if power < 6 else f"{number // 10 ** (power - 1) / 10}e{power}"


def too_much_work(work: int, most: int) -> str:
    """What an error says of so much work."""
    return f"has {counted(work)} multiplications or the like to do, and at most {counted(most)} are allowed"
