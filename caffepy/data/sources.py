"""Where items come from: records of a database, pictures of a list; endless, epoch after epoch."""

import logging
import os
import re
from collections.abc import Iterator
from typing import Protocol

from caffepy.data.database import open_database
from caffepy.data.files import PathLike, read_lines
from caffepy.data.pictures import read_picture
from caffepy.data.records import channels_first, datum_values, parse_datum
from caffepy.data.transform import Values
from caffepy.errors import DataError
from caffepy.rng import Mt19937

log = logging.getLogger("caffepy")

_INTEGER = re.compile(r"\s*([+-]?\d+)")


class Item(Protocol):
    """One of a batch, not yet read."""

    what: str
    """Names it in messages."""
    epoch: int
    slow: bool
    """Whether reading takes long enough to be worth another thread."""

    def read(self) -> tuple[Values, float]:
        """Its (channels, height, width) and its label; on any thread."""


class Source(Protocol):
    """An endless row of items."""

    def items(self) -> Iterator[Item]:
        """The items from the first on; called once."""

    def close(self) -> None:
        """Let go of files."""


class RecordItem:
    """A record of a database."""

    def __init__(self, source: "DatabaseSource", key: bytes, value: bytes, epoch: int) -> None:
        self.what = f"{source.name}, key {key.decode(errors='replace')!r}"
        self.epoch, self.slow = epoch, False
        self._value, self._color, self._source = value, source.color, source

    def read(self) -> tuple[Values, float]:
        """The Datum's values and label."""
        datum = parse_datum(self._value, self.what)
        self.slow = datum.encoded
        if self._color is not None and not datum.encoded:
            self._source.warn_of_raw()
        return datum_values(datum, self.what, self._color), datum.label


class DatabaseSource:
    """The records of a database in the order of their keys.

    color   how encoded pictures are decoded: True in colour, False in grey, None as they are
    """

    def __init__(self, source: PathLike, backend: str, color: bool | None = None) -> None:
        self.name, self.color = f"{backend} {os.fspath(source)!r}", color
        self.database = open_database(source, backend)
        self._warned = False

    def items(self) -> Iterator[RecordItem]:
        """Raises DataError where there is no record."""
        epoch = 0
        while True:
            item = None
            for key, value in self.database.records():
                item = RecordItem(self, key, value, epoch)
                yield item
            if item is None:
                raise DataError(f"{self.name} is empty: it holds no record")
            epoch += 1

    def warn_of_raw(self) -> None:
        """Say once that records hold no pictures to be decoded in colour or grey."""
        if not self._warned:
            self._warned = True
            log.warning("%s: force_color and force_gray are only for encoded pictures; its records are not", self.name)

    def close(self) -> None:
        """Close the database."""
        self.database.close()


class PictureItem:
    """A picture of a list."""

    slow = True

    def __init__(self, source: "ImageListSource", line: int, epoch: int) -> None:
        self.file, self._label = source.lines[line]
        self.what = f"{source.name}, line {source.numbers[line]} ({self.file})"
        self.epoch, self._source = epoch, source

    def read(self) -> tuple[Values, float]:
        """The file's picture, resized if the source says so."""
        source = self._source
        try:
            picture = read_picture(source.root_folder + self.file, source.color, *source.size)
        except RuntimeError as error:
            raise type(error)(f"{self.what}: {error}") from error
        return channels_first(picture), self._label


class ImageListSource:
    """The pictures that a file lists: lines of a file's name, a space and a whole number.

    root_folder   what stands before every name, as it is: end it with a slash
    color         in colour, or in grey
    size          (height, width) to resize to; (0, 0) for none
    shuffle       a generator that puts the lines into a new order before every epoch
    first         the line that the first epoch starts at

    Raises DataError for a list without lines.
    """

    def __init__(
        self,
        source: PathLike,
        root_folder: str = "",
        *,
        color: bool = True,
        size: tuple[int, int] = (0, 0),
        shuffle: Mt19937 | None = None,
    ) -> None:
        self.name = f"list {os.fspath(source)!r}"
        self.root_folder, self.color, self.size, self.first = root_folder, color, size, 0
        self.lines = read_list(source)
        self.numbers = list(range(1, len(self.lines) + 1))
        self._random = shuffle
        self._shuffle()

    def _shuffle(self) -> None:
        if self._random is not None:
            order = list(range(len(self.lines)))
            self._random.shuffle(order)
            self.lines, self.numbers = [self.lines[i] for i in order], [self.numbers[i] for i in order]

    def items(self) -> Iterator[PictureItem]:
        """Line by line from `first` on."""
        epoch, line = 0, self.first
        while True:
            yield PictureItem(self, line, epoch)
            line += 1
            if line == len(self.lines):
                epoch, line = epoch + 1, 0
                self._shuffle()

    def close(self) -> None:
        """Nothing is open."""


def read_list(source: PathLike) -> list[tuple[str, int]]:
    """The file names and labels of a list's lines: the label is behind the last space, 0 where that is no number.

    Raises MissingFileError, or DataError where there is no line.
    """
    lines = []
    for number, line in enumerate(read_lines(source), 1):
        name, _, label = line.rpartition(" ")
        found = _INTEGER.match(label)
        value = int(found[1]) if found else 0
        if not -(2**31) <= value < 2**31:
            raise DataError(f"list {os.fspath(source)!r}, line {number}: label {value} has more than 32 bits")
        lines.append((name if " " in line else line, value))
    if not lines:
        raise DataError(f"list {os.fspath(source)!r} is empty; give lines of a file name, a space and a label")
    return lines
