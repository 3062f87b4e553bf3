"""Databases of either kind, by the name that `backend` has in prototxts."""

from collections.abc import Iterator
from typing import Protocol

from caffepy.data.files import PathLike
from caffepy.data.leveldb_reader import LeveldbReader
from caffepy.data.lmdb_reader import LmdbReader
from caffepy.errors import ArgumentError


class Database(Protocol):
    """A database that is read."""

    source: str

    def records(self, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Keys and values in the keys' byte order, from key `start` or the first behind it on."""

    def keys(self) -> Iterator[bytes]:
        """The keys alone, which costs less."""

    def close(self) -> None:
        """Close it."""


READERS: dict[str, type[LmdbReader] | type[LeveldbReader]] = {"LMDB": LmdbReader, "LEVELDB": LeveldbReader}


def open_database(source: PathLike, backend: str) -> Database:
    """The database in folder `source`, which is only read.

    backend   "LMDB" or "LEVELDB", in any case

    Raises MissingFileError, or DataError for what is no such database; ArgumentError for another backend.
    """
    return READERS[known_backend(backend)](source)


def known_backend(backend: str) -> str:
    """`backend` in capitals. Raises ArgumentError where there is no such kind."""
    if backend.upper() not in READERS:
        raise ArgumentError(f"unknown database backend {backend!r}; there are {', '.join(READERS)}")
    return backend.upper()
