"""Where a batch run's rows go."""

import os

from caffepy.batch.sinks.lmdb import LmdbSink
from caffepy.batch.sinks.npy import NpySink
from caffepy.batch.sinks.parquet import ParquetSink
from caffepy.batch.sinks.png import PngSink
from caffepy.batch.sinks.shards import Row, Sink
from caffepy.errors import ArgumentError

__all__ = ["SINKS", "Row", "Sink", "open_sink"]

SINKS: dict[str, type[ParquetSink] | type[NpySink] | type[LmdbSink] | type[PngSink]] = {
    sink.kind: sink for sink in (ParquetSink, NpySink, LmdbSink, PngSink)
}


def open_sink(kind: str, folder: str | os.PathLike[str]) -> Sink:
    """A sink of that kind. Raises ArgumentError where there is none."""
    if kind not in SINKS:
        raise ArgumentError(f"there is no sink of the kind {kind!r}; there are {', '.join(SINKS)}")
    return SINKS[kind](os.path.abspath(folder))
