"""Parquet: a file for each shard, a row for each picture."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from caffepy.batch.arrow import import_pyarrow
from caffepy.batch.sinks.shards import Add, Row, is_ragged, name_of
from caffepy.batch.tasks import Columns
from caffepy.errors import ArgumentError
from caffepy.proto.files import replacing


@dataclass(frozen=True)
class ParquetSink:
    """part-00000.parquet ...: `index`, `key`, `label`, and the columns, arrays as fixed-size lists.

    A field's metadata has the arrays' `shape`. A shard without a row has no file.
    """

    kind: ClassVar[str] = "parquet"
    folder: str

    def check(self, columns: Columns) -> None:
        """Raise ArgumentError where such columns cannot be written, DeviceError without pyarrow."""
        _table([Row(0, "", None)] * len(next(iter(columns.values()), ())), columns)

    @contextmanager
    def shard(self, number: int) -> Iterator[Add]:
        """Write a shard."""
        parquet = import_pyarrow("Parquet").parquet

        with ExitStack() as stack:
            writer: Any = None

            def add(rows: Sequence[Row], columns: Columns) -> None:
                nonlocal writer
                table = _table(rows, columns)
                if writer is None:
                    path = os.path.join(self.folder, f"{name_of(number)}.parquet")
                    beside = stack.enter_context(replacing(path))
                    writer = stack.enter_context(parquet.ParquetWriter(beside, table.schema, use_dictionary=False))
                writer.write_table(table)

            yield add

    def finish(self, numbers: Sequence[int]) -> None:
        """All is done."""


def _table(rows: Sequence[Row], columns: Columns) -> Any:
    pyarrow = import_pyarrow("Parquet")
    fields = [("index", pyarrow.int64()), ("key", pyarrow.string()), ("label", pyarrow.int64())]
    arrays = [
        pyarrow.array([getattr(row, name) for row in rows], kind)
        for name, kind in fields
    ]  # fmt: skip
    schema = [pyarrow.field(name, kind) for name, kind in fields]
    for name, values in columns.items():
        try:
            array, shape = _array(values)
        except (pyarrow.ArrowException, ValueError, TypeError) as error:
            raise ArgumentError(f"column {name!r} cannot be written to Parquet: {error}") from error
        arrays.append(array)
        schema.append(pyarrow.field(name, array.type, metadata={"shape": ",".join(map(str, shape))}))
    return pyarrow.table(arrays, schema=pyarrow.schema(schema))


def _array(values: Any) -> tuple[Any, tuple[int, ...]]:
    """The column, and the shape of one picture's array."""
    pyarrow = import_pyarrow("Parquet")
    if is_ragged(values):
        joined, shape = _array(np.concatenate(values))
        offsets = np.cumsum([0, *map(len, values)], dtype=np.int32)
        return pyarrow.ListArray.from_arrays(offsets, joined), (0, *shape)
    array = np.asarray(values)
    flat = array.reshape(-1)
    plain = pyarrow.array(flat.tolist() if flat.dtype.kind in "UO" else flat)
    if array.ndim == 1:
        return plain, ()
    size = int(np.prod(array.shape[1:]))
    return pyarrow.FixedSizeListArray.from_arrays(plain, size), array.shape[1:]
