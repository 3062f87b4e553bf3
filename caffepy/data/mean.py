"""The mean picture of a database (tools/compute_image_mean.cpp)."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from caffepy.blob import Floats
from caffepy.data.database import open_database
from caffepy.data.files import PathLike
from caffepy.data.records import datum_values, parse_datum
from caffepy.data.threads import side_by_side
from caffepy.data.transform import Values
from caffepy.errors import DataError
from caffepy.proto.caffe_pb2 import BlobProto

Record = tuple[bytes, bytes]
"""A key and a value."""

_AT_ONCE = 64


@dataclass(frozen=True)
class Mean:
    """A mean picture (channels, height, width) and how many records it is of."""

    values: Floats
    count: int

    @property
    def channels(self) -> list[float]:
        """The mean of each channel, summed in single precision as Caffe sums."""
        flat = self.values.reshape(len(self.values), -1)
        sums = np.add.accumulate(flat, axis=1, dtype=np.float32)[:, -1]
        return [float(total / np.float32(flat.shape[1])) for total in sums]

    def blob(self) -> BlobProto:
        """The message that mean_file takes."""
        channels, height, width = self.values.shape
        return BlobProto(num=1, channels=channels, height=height, width=width, data=self.values.reshape(-1))


def compute_image_mean(
    source: PathLike, backend: str = "lmdb", *, progress: Callable[[Iterator[Record]], Iterable[Record]] = iter
) -> Mean:
    """The mean of a database's records, pictures decoded as they are.

    progress   is given the records and gives them back as they are worked on, as tqdm does

    Raises what `open_database` raises; DataError where the database is empty or a record's shape is not the first's.
    """
    database = open_database(source, backend)
    name = f"{backend.upper()} {os.fspath(source)!r}"
    total, count = np.zeros((0, 0, 0), np.float32), 0

    def values(record: Record) -> Values:
        what = f"{name}, key {record[0].decode(errors='replace')!r}"
        found = datum_values(parse_datum(record[1], what), what)
        if total.size and found.shape != total.shape:
            raise DataError(f"{what} has shape {found.shape}, the first record {total.shape}; a mean needs one shape")
        return found

    try:
        records = iter(progress(database.records()))
        if (first := next(records, None)) is None:
            raise DataError(f"{name} is empty: it holds no record")
        total = values(first).astype(np.float32)
        count = 1
        while part := list(islice(records, _AT_ONCE)):
            for found in side_by_side(values, part):
                total += found
            count += len(part)
    finally:
        database.close()
    return Mean(total / np.float32(count), count)
