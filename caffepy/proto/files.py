"""Opening, recognising and replacing files."""

import os
import re
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, Literal

from caffepy.errors import ArgumentError, CaffeError, MissingFileError, ProtoError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

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
_PART, _DIGITS = ".part", 16
_LONGEST = 200
"""Bytes of a name that the one beside it begins with: names have 255 at most."""
_FRESH = 60
"""Seconds for which a file without a lock may just not have one yet."""
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
        where, name = os.path.abspath(path), os.fspath(path)
        if re.match(r"\s*(#.*\n\s*)*\w+\s*(:\s|\{\s)", name):
            raise MissingFileError(
                f"{name[:30]!r}... is no path but, it seems, a prototxt's text: write it to a file, or give "
                "the message of caffe_pb2 that google.protobuf.text_format parsed it into"
            ) from error
        message = f"{name}: cannot be opened ({error.strerror}); looked at {where}"
        raise MissingFileError(message + _about_backslashes(name)) from error


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
    under a name that nobody can foresee, and the next writer removes it. It has the permissions of the old one. A
    device or pipe is written to as what it is. Raises MissingFileError if there is no such folder, ProtoError if
    writing fails.
    """
    try:
        target = os.path.realpath(path)  # a symbolic link stays one
        old = os.stat(target) if os.path.exists(target) else None
    except ValueError as error:  # a NUL in it
        raise MissingFileError(f"{os.fspath(path)!r} is no path: {error}") from error
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise MissingFileError(
            f"{os.fspath(path)}: No such file or directory: there is no folder {folder}; make it first"
        )
    try:
        if old and not (stat.S_ISREG(old.st_mode) or stat.S_ISDIR(old.st_mode)):
            yield target
            return
        remove_leftovers(target)
        with _new_file(folder, beside := unforeseen(target)) as (file, name):
            if old and hasattr(os, "fchmod"):
                os.fchmod(file.fileno(), stat.S_IMODE(old.st_mode))
            yield name
            os.fsync(file.fileno())
            if name != beside:
                # The name is absolute: the descriptor only makes link follow it to the file.
                try:
                    os.link(name, target, src_dir_fd=file.fileno())
                except FileExistsError:
                    os.link(name, beside, src_dir_fd=file.fileno())
            if fcntl is None:  # Windows renames no open file
                file.close()
            if os.path.lexists(beside):
                os.replace(beside, target)
        _flush_folder(folder)
    except CaffeError:
        raise
    except OSError as error:
        raise ProtoError(f"{os.fspath(path)}: cannot be written: {error}") from error


@contextmanager
def _new_file(folder: str, name: str) -> Iterator[tuple[BinaryIO, str]]:
    """A file in the folder, open and locked, and what to open it by: without a name if possible, else with this one."""
    descriptor, own = -1, name
    if hasattr(os, "O_TMPFILE"):
        with suppress(OSError):
            descriptor = os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o666)
            if not os.path.exists(own := f"/proc/self/fd/{descriptor}"):
                os.close(descriptor)
                descriptor, own = -1, name
    if descriptor < 0:
        descriptor = os.open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
    try:
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            lock(descriptor)
            yield file, own
    finally:
        with suppress(OSError):
            os.unlink(name)


@contextmanager
def replacing_folder(path: PathLike) -> Iterator[str]:
    """The same for a folder of files: gives a new one beside `path`, which takes its place if the block succeeds.

    For a moment there is neither the old folder nor the new. Raises as `replacing`.
    """
    target = os.path.realpath(path)
    remove_leftovers(target)
    beside = unforeseen(target)
    try:
        os.mkdir(beside)
        with locked_folder(beside):
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


def _flush_folder(folder: str) -> None:
    """Have the new name of a file on disk, too."""
    if hasattr(os, "O_DIRECTORY"):
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


# ---- what a run that is killed leaves


def unforeseen(target: str) -> str:
    """A name beside the target's, for what is to take its place."""
    return f"{_stem(target)}{os.urandom(_DIGITS // 2).hex()}{_PART}"


def _stem(target: str) -> str:
    folder, name = os.path.split(target)
    return os.path.join(folder, os.fsdecode(os.fsencode(name)[:_LONGEST]) + ".")


def lock(descriptor: int) -> bool:
    """Mark an open file or folder as somebody's, until it is closed; False if it is another's already."""
    if fcntl is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            return True
    return True


@contextmanager
def locked_folder(path: str) -> Iterator[None]:
    """Meanwhile, other writers know that the folder is not left over."""
    if not hasattr(os, "O_DIRECTORY"):
        yield
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def remove_leftovers(target: str) -> None:
    """Remove what killed runs have left beside the target: files and folders by our names that nobody has open."""
    if fcntl is None:  # nobody can tell
        return
    stem = os.path.basename(_stem(target))
    pattern = re.compile(re.escape(stem) + f"[0-9a-f]{{{_DIGITS}}}" + re.escape(_PART))
    with suppress(OSError), os.scandir(os.path.dirname(target)) as entries:
        for entry in entries:
            if pattern.fullmatch(entry.name) and not entry.is_symlink():
                with suppress(OSError):
                    _remove_if_left(entry.path)


def _remove_if_left(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        found = os.fstat(descriptor)
        if time.time() - found.st_mtime > _FRESH and lock(descriptor):
            if stat.S_ISDIR(found.st_mode):
                shutil.rmtree(path, ignore_errors=True)
            elif stat.S_ISREG(found.st_mode):
                os.unlink(path)
    finally:
        os.close(descriptor)
