"""Parquet files with a column of encoded pictures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from caffepy.batch.arrow import import_pyarrow
from caffepy.batch.sources.items import Item, digest
from caffepy.data.files import open_file
from caffepy.data.pictures import decode
from caffepy.data.records import channels_first
from caffepy.data.transform import Values
from caffepy.errors import DataError

_KEYS = ("key", "__key__", "path", "filename", "file_name", "id")
_LABELS = ("label", "cls", "class")


@dataclass(frozen=True)
class Group:
    """A row group, which is read as a whole."""

    path: str
    number: int
    first: int
    """The number of its first row in the source."""
    rows: int
    bytes: int


@dataclass(frozen=True)
class Columns:
    """Which columns hold what; `picture` may be a struct with the fields `bytes` and `path`."""

    picture: str
    nested: bool
    key: str | None
    label: str | None


@dataclass(frozen=True)
class RowsPart:
    """Some of the rows."""

    first: int
    count: int
    groups: Sequence[Group]
    columns: Columns

    def items(self, color: bool | None) -> Iterator[Item]:
        """The rows' pictures."""
        for group in self.groups:
            rows = _rows(group, self.columns)
            start, stop = max(0, self.first - group.first), min(group.rows, self.first + self.count - group.first)
            for row in range(start, stop):
                key, label, data = rows[row]
                what = f"parquet {group.path!r}, row {row} of group {group.number}"
                yield Item(key, partial(_read, data, what, color, label))


@dataclass(frozen=True)
class Rows:
    """The rows of Parquet files."""

    name: str
    groups: Sequence[Group]
    columns: Columns

    @property
    def count(self) -> int:
        """How many items there are."""
        return sum(group.rows for group in self.groups)

    @property
    def bytes(self) -> int:
        """Of all row groups, as they are on the disk."""
        return sum(group.bytes for group in self.groups)

    @property
    def digest(self) -> str:
        """Of names, and of row groups and their sizes."""
        return digest([self.columns, *self.groups])

    def part(self, first: int, count: int) -> RowsPart:
        """Some of them."""
        stop = min(first + count, self.count)
        groups = [g for g in self.groups if g.first < stop and first < g.first + g.rows]
        return RowsPart(first, max(0, stop - first), groups, self.columns)


def of_parquet(name: str, paths: Sequence[str]) -> Rows:
    """The rows of these files, which have the same columns.

    Raises MissingFileError, DeviceError without pyarrow, or DataError for what is no Parquet or holds no pictures.
    """
    groups: list[Group] = []
    columns: Columns | None = None
    first = 0
    for path in paths:
        with _opened(path) as file:
            columns = columns or _columns(path, file.schema_arrow)
            for number in range(file.num_row_groups):
                about = file.metadata.row_group(number)
                groups.append(Group(path, number, first, about.num_rows, about.total_byte_size))
                first += about.num_rows
    if columns is None or not first:
        raise DataError(f"{name} is empty: it holds no row")
    return Rows(name, groups, columns)


def _opened(path: str) -> Any:
    pyarrow = import_pyarrow("Parquet")

    open_file(path).close()  # a regular file
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"parquet {path!r} cannot be read: {error}") from error


def _columns(path: str, schema: Any) -> Columns:
    """The first column of bytes, or of structs with `bytes`; a key's and a label's by their usual names."""
    types = import_pyarrow("Parquet").types
    kinds = {field.name: field.type for field in schema}
    key = next((name for name in _KEYS if name in kinds and not types.is_nested(kinds[name])), None)
    label = next((name for name in _LABELS if name in kinds and types.is_integer(kinds[name])), None)
    for name, kind in kinds.items():
        if types.is_binary(kind) or types.is_large_binary(kind):
            return Columns(name, False, key, label)
        if types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            return Columns(name, True, key, label)
    found = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
    raise DataError(f"parquet {path!r} has no column of picture files' bytes; its columns are {found}")


def _rows(group: Group, columns: Columns) -> list[tuple[str, int | None, bytes | None]]:
    pyarrow = import_pyarrow("Parquet")
    wanted = [name for name in (columns.picture, columns.key, columns.label) if name]
    try:
        with _opened(group.path) as file:
            table = file.read_row_group(group.number, columns=wanted).to_pydict()
    except (pyarrow.ArrowException, OSError, ValueError, KeyError) as error:
        raise DataError(f"parquet {group.path!r}, row group {group.number} cannot be read: {error}") from error
    rows = []
    for row, picture in enumerate(table[columns.picture]):
        nested = picture if columns.nested and picture else {}
        key = table[columns.key][row] if columns.key else nested.get("path")
        label = table[columns.label][row] if columns.label else None
        data = nested.get("bytes") if columns.nested else picture
        rows.append((f"{group.first + row}" if key is None else str(key), label, data))
    return rows


def _read(data: bytes | None, what: str, color: bool | None, label: int | None) -> tuple[Values, int | None]:
    if data is None:
        raise DataError(f"{what} holds no picture")
    return channels_first(decode(data, color, what)), label
