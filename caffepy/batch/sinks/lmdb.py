"""LMDBs of Datums, one for each column, as Caffe's extract_features writes them."""

import glob
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from caffepy.batch.sinks.shards import Add, Row, file_names, is_ragged, name_of
from caffepy.batch.tasks import Columns
from caffepy.data.database import open_database
from caffepy.data.records import feature_datum, feature_key
from caffepy.data.writer import DatabaseWriter
from caffepy.errors import ArgumentError

_PARTS = "_parts"


@dataclass(frozen=True)
class LmdbSink:
    """FOLDER/fc7 ...: a record for each picture, its key ten digits, its number in the source; floats.

    Each shard is an LMDB of its own until all are there.
    """

    kind: ClassVar[str] = "lmdb"
    folder: str

    def check(self, columns: Columns) -> None:
        """Raise ArgumentError for what is no numbers of at most three axes, DeviceError without lmdb."""
        file_names(columns)
        for name, values in columns.items():
            array = np.asarray(values) if not is_ragged(values) else None
            if array is None or array.dtype.kind not in "biuf" or array.ndim > 4:
                raise ArgumentError(f"column {name!r} is no array of at most 3 axes for each picture; write Parquet")

    @contextmanager
    def shard(self, number: int) -> Iterator[Add]:
        """Write a shard."""
        parts = os.path.join(self.folder, _PARTS)
        os.makedirs(parts, exist_ok=True)
        for old in glob.glob(f"{glob.escape(os.path.join(parts, name_of(number)))}.*"):
            shutil.rmtree(old)
        with ExitStack() as stack:
            writers: dict[str, DatabaseWriter] = {}

            def add(rows: Sequence[Row], columns: Columns) -> None:
                names = file_names(columns)
                for name, values in zip(names.values(), columns.values(), strict=True):
                    if name not in writers:
                        path = os.path.join(parts, f"{name_of(number)}.{name}")
                        writers[name] = stack.enter_context(DatabaseWriter(path, "LMDB"))
                    for row, value in zip(rows, np.asarray(values), strict=True):
                        datum = feature_datum(np.asarray(value, np.float32))
                        if row.label is not None:
                            datum.label = row.label
                        writers[name].put(feature_key(row.index), datum.SerializeToString())

            yield add

    def finish(self, numbers: Sequence[int]) -> None:
        """Make one LMDB of all shards."""
        parts = os.path.join(self.folder, _PARTS)
        if not os.path.isdir(parts):
            return
        shards = [name_of(number) for number in numbers]
        names = {entry.partition(".")[2] for entry in os.listdir(parts) if not entry.endswith(".part")}
        for name in sorted(names):
            path = os.path.join(self.folder, name)
            for old in glob.glob(f"{glob.escape(path)}.*.part"):
                shutil.rmtree(old)
            if os.path.exists(path):
                continue
            with DatabaseWriter(path, "LMDB") as database:
                for shard in shards:
                    if os.path.isdir(part := os.path.join(parts, f"{shard}.{name}")):
                        records = open_database(part, "LMDB")
                        for key, value in records.records():
                            database.put(key, value)
                        records.close()
        shutil.rmtree(parts)
