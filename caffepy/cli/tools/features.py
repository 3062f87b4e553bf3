"""Blobs of a net with data layers, written to databases (tools/extract_features.cpp)."""

from collections.abc import Sequence
from contextlib import ExitStack

from caffepy import Net
from caffepy.data.records import feature_datum, feature_key
from caffepy.data.writer import DatabaseWriter
from caffepy.errors import ArgumentError, UnknownBlobError


def extract_to_databases(
    net: Net, blobs: Sequence[str], databases: Sequence[str], batches: int, backend: str
) -> dict[str, int]:
    """Run so many batches of the net's own data; each blob's items become the records of its database. How many.

    Raises UnknownBlobError, ArgumentError where there are not as many databases as blobs or a blob has more than four
    axes, and what DatabaseWriter raises.
    """
    if len(blobs) != len(databases):
        raise ArgumentError(f"{len(blobs)} blobs and {len(databases)} databases; give a database for each blob")
    for name in blobs:
        if name not in net.blobs:
            raise UnknownBlobError(f"the net has no blob {name!r}; it has {', '.join(net.blobs)}")
        if not 1 <= len(net.blobs[name].shape) <= 4:
            raise ArgumentError(f"blob {name!r} has shape {net.blobs[name].shape}; records are written of 1 to 4 axes")
    with ExitStack() as stack:
        writers = [stack.enter_context(DatabaseWriter(path, backend)) for path in databases]
        for _ in range(batches):
            net.forward()
            for name, writer in zip(blobs, writers, strict=True):
                for item in net.blobs[name].data:
                    writer.put(feature_key(writer.count), feature_datum(item).SerializeToString())
        return {name: writer.count for name, writer in zip(blobs, writers, strict=True)}
