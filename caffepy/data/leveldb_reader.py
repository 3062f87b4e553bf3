"""LevelDB databases, read through `plyvel` from a folder of links beside which nothing is written.

LevelDB takes a lock, writes a log and turns its write-ahead log into a table whenever it opens a folder, so only one
process reads a database, and only where it may write. Tables never change once they are written: a temporary folder of
links to them, with copies of the few small files beside, is the same database, and LevelDB may write there.
"""

import os
import shutil
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from caffepy.data.files import RECORD_LIMIT, PathLike, folder, open_file
from caffepy.errors import DataError, DeviceError

_TRIES = 5
_TABLES = (".ldb", ".sst")
_LOG_LIMIT = 2**32
"""Bytes of a write-ahead log: Caffe's are up to 256 MiB."""


class LeveldbReader:
    """The records of a LevelDB folder. Raises MissingFileError or DataError, DeviceError where plyvel is not there.

    A database that is being written is read as it was at some moment; a table that goes meanwhile is an error.
    """

    def __init__(self, source: PathLike) -> None:
        self.source = os.fspath(source)
        where = folder(source, "LEVELDB", ("CURRENT",))
        plyvel = import_plyvel()
        self._library_error: type[Exception] = plyvel.Error
        try:
            import tempfile

            self._copy = tempfile.mkdtemp(prefix="caffepy-leveldb-")
        except OSError as error:
            raise DataError(f"LEVELDB {self.source!r}: no room for a folder of links to its tables: {error}") from error
        self._end = weakref.finalize(self, shutil.rmtree, self._copy, ignore_errors=True)
        self._database: Any = None
        for tries_left in reversed(range(_TRIES)):
            try:
                _link(where, Path(self._copy))
                self._database = plyvel.DB(self._copy, create_if_missing=False, max_open_files=1000)
                break
            except (plyvel.Error, OSError) as error:
                if not tries_left:
                    self.close()
                    raise self._damaged(error) from error
                _empty(self._copy)

    def records(self, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Keys and values in the keys' byte order, from key `start` on. Raises DataError where a table is damaged."""
        try:
            with self._database.iterator(start=start or None, verify_checksums=True) as iterator:
                for key, value in iterator:
                    if len(value) > RECORD_LIMIT:
                        where = f"LEVELDB {self.source!r}, key {key!r}"
                        raise DataError(f"{where}: {len(value)} bytes; more than {RECORD_LIMIT} are not read")
                    yield key, value
        except self._library_error as error:
            raise self._damaged(error) from error

    def keys(self) -> Iterator[bytes]:
        """The keys in their byte order. Raises DataError where a table is damaged."""
        try:
            with self._database.iterator(include_value=False, verify_checksums=True) as iterator:
                yield from iterator
        except self._library_error as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> DataError:
        text = error.args[0] if error.args else ""
        reason = text.decode(errors="replace") if isinstance(text, bytes) else str(error)
        return DataError(
            f"LEVELDB {self.source!r} is damaged, or being written: {reason.replace(self._copy, self.source)}"
        )

    def close(self) -> None:
        """Let go of the database and of the links."""
        if self._database is not None:
            self._database.close()
        self._end()


def import_plyvel() -> Any:
    """The module plyvel. Raises DeviceError, saying what to install, where it is not there."""
    try:
        import plyvel
    except ImportError as error:
        raise DeviceError(f"LevelDB needs the library plyvel ({error}); pip install caffepy[leveldb]") from error
    return plyvel


def _link(where: Path, copy: Path) -> None:
    """Make `copy` the same database: first what names the tables, then the tables, which may be newer.

    LevelDB reads a table's old name, 000005.sst, where 000005.ldb is not there, but only ever writes the new one: so
    nothing is written through a link, whatever the files say.
    """
    for entry in sorted(os.scandir(where), key=lambda entry: (entry.name.endswith(_TABLES), entry.name)):
        if entry.name.endswith(_TABLES):
            open_file(entry.path).close()  # a regular file
            if not os.path.lexists(link := copy / f"{entry.name[:-4]}.sst"):  # .ldb is sorted before
                os.symlink(os.path.abspath(entry.path), link)
        elif entry.name == "CURRENT" or entry.name.startswith("MANIFEST-") or entry.name.endswith(".log"):
            with open_file(entry.path) as source, open(copy / entry.name, "wb") as target:
                if os.fstat(source.fileno()).st_size > _LOG_LIMIT:
                    raise DataError(f"{entry.path!r} has more than {_LOG_LIMIT} bytes, which is no log of Caffe's")
                shutil.copyfileobj(source, target)


def _empty(copy: str) -> None:
    for entry in os.scandir(copy):
        os.unlink(entry.path)
