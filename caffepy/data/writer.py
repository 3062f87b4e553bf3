"""Databases written, a transaction at a time; they appear under their name when they are whole."""

import os
import shutil
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from caffepy.data.database import known_backend
from caffepy.data.files import PathLike
from caffepy.data.leveldb_reader import import_plyvel
from caffepy.errors import DataError, DeviceError, MissingFileError, StateError
from caffepy.proto.files import locked_folder, remove_leftovers, unforeseen

_BUFFER = 2**28
"""Caffe's write_buffer_size for LevelDB (db_leveldb.cpp)."""
COMMIT_EVERY = 1000
"""Records of a transaction, as in Caffe's tools."""


class DatabaseWriter:
    """Makes a database: `with DatabaseWriter("train_lmdb", "LMDB") as db: db.put(key, value)`.

    It is written beside its name and put there when the block ends; if the block fails, nothing is left.

    Raises StateError where there is something of that name, MissingFileError where the folder around it cannot be
    written, DeviceError where the backend's library is not there, DataError where writing fails.
    """

    def __init__(self, path: PathLike, backend: str) -> None:
        self.path, self.backend, self.count = os.fspath(path), known_backend(backend), 0
        if os.path.lexists(self.path):
            raise StateError(f"{self.path!r} is there already; a database is made anew, so remove it first")
        target = os.path.abspath(self.path)
        remove_leftovers(target)
        self._beside = unforeseen(target)
        self._pending: list[tuple[bytes, bytes]] = []
        self._database: _Lmdb | _Leveldb
        try:
            os.mkdir(self._beside)
        except OSError as error:
            raise MissingFileError(f"{self.path!r} cannot be made ({error.strerror}); is there its folder?") from error
        self._lock = ExitStack()
        self._lock.enter_context(locked_folder(self._beside))
        try:
            self._database = (_Lmdb if self.backend == "LMDB" else _Leveldb)(self._beside)
        except BaseException:
            self._clean_up()
            raise

    def put(self, key: bytes, value: bytes) -> None:
        """Add a record; readers find records in the order of their keys' bytes."""
        self._pending.append((key, value))
        self.count += 1
        if len(self._pending) >= COMMIT_EVERY:
            self._commit()

    def close(self) -> None:
        """Write what is pending and put the database in its place."""
        self._commit()
        self._database.close()
        try:
            os.rename(self._beside, self.path)
        except OSError as error:
            raise DataError(f"{self.path!r} cannot be put in its place: {error}") from error

    def _commit(self) -> None:
        try:
            self._database.write(self._pending)
        except Exception as error:  # each library has its own
            raise DataError(f"{self.path!r} cannot be written: {error}") from error
        self._pending = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.close()
        finally:
            self._database.close()
            self._clean_up()

    def _clean_up(self) -> None:
        shutil.rmtree(self._beside, ignore_errors=True)
        self._lock.close()


class _Lmdb:
    def __init__(self, path: str) -> None:
        try:
            import lmdb
        except ImportError as error:
            raise DeviceError(f"writing an LMDB needs the library lmdb ({error}); pip install caffepy[lmdb]") from error
        self._full: Any = lmdb.MapFullError
        self._size = 2**24
        self._environment: Any = lmdb.open(path, map_size=self._size, lock=False)

    def write(self, records: list[tuple[bytes, bytes]]) -> None:
        while True:
            try:
                with self._environment.begin(write=True) as transaction:
                    for key, value in records:
                        transaction.put(key, value)
                return
            except self._full:  # the file grows with what is in it, so the limit may be generous
                self._size *= 2
                self._environment.set_mapsize(self._size)

    def close(self) -> None:
        self._environment.close()


class _Leveldb:
    def __init__(self, path: str) -> None:
        self._database: Any = import_plyvel().DB(path, create_if_missing=True, write_buffer_size=_BUFFER)

    def write(self, records: list[tuple[bytes, bytes]]) -> None:
        with self._database.write_batch() as batch:
            for key, value in records:
                batch.put(key, value)

    def close(self) -> None:
        self._database.close()
