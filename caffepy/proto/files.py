"""Opening, recognising and replacing files."""

import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, Literal

from caffepy.errors import ArgumentError, CaffeError, MissingFileError, ProtoError

PathLike = str | os.PathLike[str]
Kind = Literal["empty", "hdf5", "git-lfs pointer", "gzip archive", "zip archive", "text", "binary"]

_MAGIC: dict[bytes, Kind] = {
    b"\x89HDF\r\n\x1a\n": "hdf5",
    b"version https://git-lfs": "git-lfs pointer",
    b"\x1f\x8b": "gzip archive",
    b"PK\x03\x04": "zip archive",
}
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_NOT_IN_TEXT = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1a\x1b")) + b"\x7f"
HEAD = 4096
"""How many bytes kind_of wants to see."""


def as_path(value: object, what: str) -> str:
    """A path as text, from bytes too; raises ArgumentError for anything else."""
    if isinstance(value, str | bytes | os.PathLike):
        return os.fsdecode(value)
    raise ArgumentError(f"{what}: expected a path, got {value!r}")


def open_binary(path: PathLike) -> BinaryIO:
    """The file, opened for unbuffered reading; MissingFileError if that cannot be."""
    try:
        check_regular(path)
        return open(path, "rb", buffering=0)
    except MissingFileError:
        raise
    except ValueError as error:  # a NUL in it
        raise MissingFileError(f"{os.fspath(path)!r} is no path: {error}") from error
    except OSError as error:
        where = os.path.abspath(path)
        message = f"{os.fspath(path)}: cannot be opened ({error.strerror}); looked at {where}"
        raise MissingFileError(message + _about_backslashes(os.fspath(path))) from error


def check_regular(path: PathLike) -> None:
    """Raise MissingFileError for a pipe or device, whose reading may never end. Raises what os.stat raises."""
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise MissingFileError(f"{os.fspath(path)}: is no regular file but a pipe or device; give a file")


def _about_backslashes(path: str) -> str:
    """What a path of Windows may lack."""
    if re.search(r"[\x00-\x1f]", path):
        return f"; {path!r} has a control character: write backslashes twice, or r'...', or slashes"
    return "; here folders are parted by slashes" if "\\" in path and os.sep == "/" else ""


def kind_of(head: bytes) -> Kind:
    """What a file is, judged by its first bytes: a .caffemodel's tags and lengths are no text."""
    if not head:
        return "empty"
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    if head.startswith(_UTF16_MARKS) or head.translate(None, _NOT_IN_TEXT) == head:
        return "text"
    return "binary"


def remedy(kind: Kind) -> str:
    """What the file is and what to do about it, for the kinds that hold neither text nor weights themselves."""
    return {
        "empty": "the file is empty; download or save it again",
        "git-lfs pointer": "the file is a git-lfs pointer, not the file it stands for; run `git lfs pull`",
        "gzip archive": "the file is a gzip archive; unpack it first",
        "zip archive": "the file is a zip archive; unpack it first",
    }.get(kind, "")


@contextmanager
def replacing(path: PathLike) -> Iterator[str]:
    """Gives the name of a new file, which takes the place of `path` if the block succeeds and goes if it does not.

    So a reader sees the old file or the whole new one, written to disk. Where the system has files without a name, the
    new one gets its own when it is whole, and a process killed before leaves nothing; elsewhere it lies beside `path`
    under a name that nobody can foresee. It has the permissions of the old one. A device or pipe is written to as what
    it is. Raises MissingFileError if there is no such folder, ProtoError if writing fails.
    """
    try:
        target = os.path.realpath(path)  # a symbolic link stays one
        old = os.stat(target) if os.path.exists(target) else None
    except ValueError as error:  # a NUL in it
        raise MissingFileError(f"{os.fspath(path)!r} is no path: {error}") from error
    if old and not (stat.S_ISREG(old.st_mode) or stat.S_ISDIR(old.st_mode)):
        yield target
        return
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise MissingFileError(
            f"{os.fspath(path)}: No such file or directory: there is no folder {folder}; make it first"
        )
    beside = f"{target}.{secrets.token_hex(8)}.part"
    try:
        descriptor, name = _new_file(folder, beside)
        try:
            if old and hasattr(os, "fchmod"):
                os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
            yield name
            os.fsync(descriptor)
            if name != beside:
                # The name is absolute: the descriptor only makes link follow it to the file.
                os.link(name, beside if os.path.lexists(target) else target, src_dir_fd=descriptor)
        finally:
            os.close(descriptor)
        if os.path.lexists(beside):
            os.replace(beside, target)
    except CaffeError:
        raise
    except OSError as error:
        raise ProtoError(f"{os.fspath(path)}: cannot be written: {error}") from error
    finally:
        with suppress(OSError):
            os.unlink(beside)


def _new_file(folder: str, name: str) -> tuple[int, str]:
    """A file in the folder, open, and what to open it by: without a name if possible, else with this one."""
    if hasattr(os, "O_TMPFILE"):
        with suppress(OSError):
            descriptor = os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o666)
            if os.path.exists(own := f"/proc/self/fd/{descriptor}"):
                return descriptor, own
            os.close(descriptor)
    return os.open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666), name


@contextmanager
def replacing_folder(path: PathLike) -> Iterator[str]:
    """The same for a folder of files: gives a new one beside `path`, which takes its place if the block succeeds.

    For a moment there is neither the old folder nor the new. Raises as `replacing`.
    """
    target = os.path.realpath(path)
    beside = f"{target}.{secrets.token_hex(8)}.part"
    try:
        os.mkdir(beside)
        yield beside
        for entry in os.scandir(beside):
            with open(entry.path, "rb") as file:
                os.fsync(file.fileno())
        if os.path.isdir(target):
            shutil.rmtree(target)
        os.rename(beside, target)
    except CaffeError:
        raise
    except FileNotFoundError as error:
        raise MissingFileError(f"{os.fspath(path)}: there is no folder {os.path.dirname(target)}; make it") from error
    except OSError as error:
        raise ProtoError(f"{os.fspath(path)}: cannot be written: {error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
