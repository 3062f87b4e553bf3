"""What a model may do to the process that loads and runs it: one policy, in force while its net is built and runs."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from caffepy.errors import ArgumentError, MissingFileError, NotAllowedError

PathLike = str | os.PathLike[str]

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
    memory    the most bytes that its forward pass may take; None: CAFFEPY_MEMORY_LIMIT, or what the machine has left
    formats   of pictures that are decoded, by Pillow's names
    pixels    of a picture, at most: its height times its width
    """

    allowed: tuple[str, ...] = (EVERYTHING,)
    memory: int | None = None
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
