"""The one place where training data are opened: regular files only, and never more of them than a limit."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from caffepy.errors import DataError, MissingFileError
from caffepy.limits import in_force

PathLike = str | os.PathLike[str]

FILE_LIMIT = 2**30
"""Bytes of a list, a mean or a picture's file."""
RECORD_LIMIT = 2**29
"""Bytes of a database's value."""
_FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NONBLOCK", "O_BINARY"))


def open_file(path: PathLike) -> BinaryIO:
    """The file, opened for unbuffered reading.

    Raises NotAllowedError where the limits in force forbid it, MissingFileError where there is none or it cannot be
    opened, DataError where it is no regular file: reading a pipe or a device would wait or never end.
    """
    in_force().check_file(path)
    try:
        descriptor = os.open(path, _FLAGS)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        where = "" if os.path.isabs(path) else f"; looked at {os.path.abspath(path)}"
        raise MissingFileError(f"{os.fspath(path)!r} cannot be opened ({reason}){where}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DataError(f"{os.fspath(path)!r} is no regular file; give a file")
    return os.fdopen(descriptor, "rb", buffering=0)


def read_file(path: PathLike, limit: int = FILE_LIMIT) -> bytes:
    """The whole file. Raises as `open_file`, and DataError where it is larger than `limit` bytes."""
    with open_file(path) as file:
        if (size := os.fstat(file.fileno()).st_size) > limit:
            raise DataError(f"{os.fspath(path)!r} has {size} bytes; more than {limit} are not read")
        return file.read(size)


def read_lines(path: PathLike) -> list[str]:
    """The file's lines without their line feeds; bytes that are no UTF-8 stand for themselves, as in file names."""
    lines = os.fsdecode(read_file(path)).split("\n")
    return lines if lines[-1] else lines[:-1]


def folder(path: PathLike, what: str, contents: tuple[str, ...]) -> Path:
    """The path of a database's folder.

    what       the kind of database, for the message
    contents   files of which it must hold the first

    Raises MissingFileError where there is none, DataError where it holds none of them.
    """
    in_force().check_file(path)
    found = Path(path)
    if not os.fspath(path) or not found.is_dir():
        where = "" if found.is_absolute() else f"; looked at {found.absolute()}"
        reason = "it is a file, not a folder" if found.exists() and os.fspath(path) else "there is no such folder"
        raise MissingFileError(f"{what} {os.fspath(path)!r} cannot be opened: {reason}{where}")
    if not (found / contents[0]).exists():
        others = [kind for kind, file in MARKS.items() if (found / file).exists()]
        hint = f": it is of the kind {others[0]}, so give backend: {others[0]}" if others else ""
        raise DataError(f"{what} {os.fspath(path)!r} holds no {contents[0]}{hint}")
    return found


MARKS = {"LMDB": "data.mdb", "LEVELDB": "CURRENT"}
"""The file by which each kind of database is known."""
