"""Datum records of an LMDB or a LevelDB."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from caffepy.batch.sources.items import Item, digest
from caffepy.data.database import open_database
from caffepy.data.records import datum_values, parse_datum
from caffepy.data.transform import Values
from caffepy.errors import DataError

_STEP = 256
"""A key is remembered for each so many records: parts begin at one of them."""


@dataclass(frozen=True)
class RecordsPart:
    """Some of a database's records."""

    first: int
    count: int
    path: str
    backend: str
    start: bytes
    skip: int
    """How many records behind key `start` the first one is."""

    def items(self, color: bool | None) -> Iterator[Item]:
        """The records. Raises DataError where there are fewer than there were."""
        database = open_database(self.path, self.backend)
        given = 0
        try:
            for key, value in islice(database.records(self.start), self.skip, self.skip + self.count):
                what = f"{self.backend} {self.path!r}, key {key.decode(errors='replace')!r}"
                yield Item(key.decode(errors="replace"), partial(_read, value, what, color))
                given += 1
        finally:
            database.close()
        if given < self.count:
            raise DataError(f"{self.backend} {self.path!r} has fewer records than when the run began")


@dataclass(frozen=True)
class Records:
    """A database's records in the order of their keys."""

    path: str
    backend: str
    count: int
    marks: Sequence[bytes]
    keys_digest: str

    @property
    def name(self) -> str:
        """What it is and where."""
        return f"{self.backend} {self.path!r}"

    @property
    def bytes(self) -> int:
        """Of the database's files."""
        return sum(file.stat().st_size for file in Path(self.path).iterdir() if file.is_file())

    @property
    def digest(self) -> str:
        """Of the keys and the files' size."""
        return digest([self.keys_digest, self.bytes])

    def part(self, first: int, count: int) -> RecordsPart:
        """Some of them."""
        mark, skip = divmod(first, _STEP)
        left = max(0, min(count, self.count - first))
        return RecordsPart(first, left, self.path, self.backend, self.marks[mark] if left else b"", skip)


def of_database(path: str, backend: str) -> Records:
    """The database's records, counted. Raises MissingFileError, DeviceError or DataError."""
    database = open_database(path, backend)
    marks: list[bytes] = []
    count = 0

    def counted() -> Iterator[str]:
        nonlocal count
        for count, key in enumerate(database.keys(), 1):
            if count % _STEP == 1:
                marks.append(key)
            yield key.hex()

    try:
        found = digest(counted())
    finally:
        database.close()
    if not count:
        raise DataError(f"{backend} {path!r} is empty: it holds no record")
    return Records(path, backend, count, marks, found)


def _read(value: bytes, what: str, color: bool | None) -> tuple[Values, int | None]:
    datum = parse_datum(value, what)
    return datum_values(datum, what, color), datum.label if datum.HasField("label") else None
