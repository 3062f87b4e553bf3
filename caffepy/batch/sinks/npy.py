"""NumPy's files: for each shard one of each column."""

import csv
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar, TextIO

import numpy as np
from numpy.typing import NDArray

from caffepy.batch.sinks.shards import Add, Row, file_names, is_ragged, name_of, one_array
from caffepy.batch.tasks import Columns
from caffepy.errors import ArgumentError
from caffepy.proto.files import replacing


@dataclass(frozen=True)
class NpySink:
    """part-00000.fc7.npy ...: (rows, ...); part-00000.rows.csv has the rows' index, key and label.

    Of a column with an array of its own for each picture, the arrays one after the other; part-00000.NAME.ends.npy says
    where each ends. A shard without a row has no file.
    """

    kind: ClassVar[str] = "npy"
    folder: str

    def check(self, columns: Columns) -> None:
        """Raise ArgumentError for a column of objects."""
        file_names(columns)
        for name, values in columns.items():
            if one_array(values).dtype.hasobject:
                raise ArgumentError(f"column {name!r} holds objects, which a .npy cannot; write Parquet")

    @contextmanager
    def shard(self, number: int) -> Iterator[Add]:
        """Write a shard."""
        with ExitStack() as stack:
            files: dict[str, _Growing] = {}
            table: Any = None

            def place(ending: str) -> str:
                return stack.enter_context(replacing(os.path.join(self.folder, f"{name_of(number)}.{ending}")))

            def append(name: str, array: NDArray[Any]) -> None:
                if name not in files:
                    files[name] = stack.enter_context(_growing(place(f"{name}.npy"), array))
                files[name].append(array)

            def add(rows: Sequence[Row], columns: Columns) -> None:
                nonlocal table
                if table is None:
                    table = csv.writer(stack.enter_context(_text(place("rows.csv"))))
                    table.writerow(["index", "key", "label"])
                table.writerows([row.index, row.key, row.label] for row in rows)
                names = file_names(columns)
                for name, values in zip(names.values(), columns.values(), strict=True):
                    if is_ragged(values):
                        start = files[name].rows if name in files else 0
                        append(f"{name}.ends", start + np.cumsum([len(value) for value in values], dtype=np.int64))
                    append(name, one_array(values))

            yield add

    def finish(self, numbers: Sequence[int]) -> None:
        """All is done."""


def _text(path: str) -> TextIO:
    return open(path, "w", newline="", encoding="utf-8", errors="surrogateescape")


class _Growing:
    """An .npy that gets longer."""

    def __init__(self, file: BinaryIO, first: NDArray[Any]) -> None:
        self._file, self._dtype, self._item, self.rows = file, first.dtype, first.shape[1:], 0
        self._write_head()

    def _write_head(self) -> None:
        head = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self.rows, *self._item),
        }
        np.lib.format.write_array_header_1_0(self._file, head)

    def append(self, array: NDArray[Any]) -> None:
        """Add rows."""
        self._file.write(np.ascontiguousarray(array, self._dtype).tobytes())
        self.rows += len(array)

    def end(self) -> None:
        """Write how many there are: NumPy leaves room for that."""
        self._file.seek(0)
        self._write_head()


@contextmanager
def _growing(path: str, first: NDArray[Any]) -> Iterator[_Growing]:
    with open(path, "wb") as file:
        growing = _Growing(file, first)
        yield growing
        growing.end()
