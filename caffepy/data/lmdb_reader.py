"""LMDB databases, read page by page.

The library `lmdb` maps the file, so that a damaged or shortened one kills the process, and it opens a database once
in a process, so that a script and a net could not both read it. A file that is only read needs none of its locks.
The format is that of liblmdb 0.9 (lmdb.h, mdb.c) on little-endian machines of 64 bits. Writing is the library's:
caffepy/data/writer.py.
"""

import os
import struct
import weakref
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from caffepy.data.files import RECORD_LIMIT, PathLike, folder, open_file
from caffepy.errors import DataError

_MAGIC, _VERSION = 0xBEEFC0DE, 1
_META = struct.Struct(
    "<16xIIQQ 24x24x 4xHH QQQQQ QQ"
)  # page header, magic, ..., the main table, last page, transaction
_PAGE_SIZE = struct.Struct("<40xI")
_HEADER = 16
_BRANCH, _LEAF, _OVERFLOW = 1, 2, 4
_PLAIN_TABLE = 0x00
_ELSEWHERE = 1
"""A node whose value has pages of its own."""
_EMPTY = 2**64 - 1
_DEEPEST = 32  # CURSOR_STACK


class _Meta(NamedTuple):
    magic: int
    version: int
    address: int
    map_size: int
    flags: int
    depth: int
    branch_pages: int
    leaf_pages: int
    overflow_pages: int
    entries: int
    root: int
    last_page: int
    transaction: int


class LmdbReader:
    """The records of an LMDB folder. Raises MissingFileError or DataError; it never writes, locks or maps."""

    def __init__(self, source: PathLike) -> None:
        self.source = os.fspath(source)
        self._file = open_file(folder(source, "LMDB", ("data.mdb",)) / "data.mdb")
        self.close = weakref.finalize(self, self._file.close)
        """Close the file; called when the reader goes, at the latest."""
        self._size = os.fstat(self._file.fileno()).st_size
        self._meta = self._newest_meta()

    def __len__(self) -> int:
        """How many records there are."""
        return self._meta.entries

    def records(self, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Keys and values in the keys' byte order, from key `start` on. Raises DataError where the file is damaged."""
        for page, node in self._found(start):
            yield self._record(page, node)

    def keys(self) -> Iterator[bytes]:
        """The keys in their byte order; their values are not read. Raises DataError where the file is damaged."""
        for page, node in self._found(b""):
            yield _key(page, node)

    def _found(self, start: bytes) -> Iterator[tuple[bytes, int]]:
        """Leaf pages, and where in them the nodes of keys from `start` on begin; without `start`, all are counted."""
        found = 0
        if self._meta.root != _EMPTY:
            for page in self._leaves(self._meta.root, self._meta.depth, start):
                for node in _nodes(page):
                    if start and _key(page, node) < start:
                        continue
                    found += 1
                    if found > self._meta.entries:
                        raise self._damaged(f"it holds more than the {self._meta.entries} records it counts")
                    yield page, node
        if found < self._meta.entries and not start:
            raise self._damaged(f"it holds {found} records and counts {self._meta.entries}")

    def _newest_meta(self) -> _Meta:
        head = self._read(0, _META.size)
        self._page_size: int = _PAGE_SIZE.unpack_from(head)[0]
        if self._page_size not in {2**power for power in range(8, 17)}:
            raise DataError(f"LMDB {self.source!r}: its data.mdb is no LMDB file")
        metas = [_Meta(*_META.unpack(self._read(i * self._page_size, _META.size))) for i in (0, 1)]
        metas = [meta for meta in metas if (meta.magic, meta.version) == (_MAGIC, _VERSION)]
        if not metas:
            raise DataError(f"LMDB {self.source!r}: its data.mdb is no LMDB file of version {_VERSION}")
        newest = max(metas, key=lambda meta: meta.transaction)
        self._size = os.fstat(self._file.fileno()).st_size  # a writer lets the file grow before it says so
        if (newest.last_page + 1) * self._page_size > self._size:
            raise self._damaged(
                f"{(newest.last_page + 1) * self._page_size} bytes are expected, {self._size} are there"
            )
        if newest.flags != _PLAIN_TABLE:
            raise DataError(
                f"LMDB {self.source!r} has several values for a key or keys of integers; Caffe's have neither"
            )
        if newest.depth > _DEEPEST:
            raise self._damaged(f"its tree has {newest.depth} levels")
        return newest

    def _leaves(self, root: int, depth: int, start: bytes) -> Iterator[bytes]:
        """The tree's leaf pages from left to right, from the one that key `start` would stand in on."""
        if depth <= 1:
            yield self._page(root, _LEAF)
            return
        page = self._page(root, _BRANCH)
        nodes = _nodes(page)
        behind = [_key(page, node) for node in nodes[1:]]  # a branch's first key stands for all that is before
        first = bisect_right(behind, start) if start else 0
        for node in nodes[first:]:
            low, high, upper = struct.unpack_from("<HHH", page, node)
            yield from self._leaves(low | high << 16 | upper << 32, depth - 1, start)

    def _page(self, number: int, kind: int) -> bytes:
        page = self._read(number * self._page_size, self._page_size)
        flags, lower = struct.unpack_from("<10xHH", page)
        if not flags & kind or not _HEADER <= lower <= self._page_size or lower % 2:
            raise self._damaged(f"page {number} is not what the tree says")
        if max(_nodes(page), default=0) > self._page_size - 8:
            raise self._damaged(f"page {number} points outside itself")
        return page

    def _record(self, page: bytes, node: int) -> tuple[bytes, bytes]:
        low, high, flags, key_size = struct.unpack_from("<HHHH", page, node)
        start, size = node + 8 + key_size, low | high << 16
        key = page[node + 8 : start]
        if flags not in (0, _ELSEWHERE) or start + (8 if flags else size) > self._page_size:
            raise self._damaged(f"the record of key {key!r} is cut off")
        if not flags:
            return key, page[start : start + size]
        if size > RECORD_LIMIT:
            raise DataError(f"LMDB {self.source!r}, key {key!r}: {size} bytes; more than {RECORD_LIMIT} are not read")
        (number,) = struct.unpack_from("<Q", page, start)
        offset = number * self._page_size
        if not struct.unpack_from("<10xH", self._read(offset, _HEADER))[0] & _OVERFLOW:
            raise self._damaged(f"page {number} does not hold the value of key {key!r}")
        return key, self._read(offset + _HEADER, size)

    def _read(self, offset: int, size: int) -> bytes:
        self._within(offset + size)
        self._file.seek(offset)
        found = self._file.read(size)
        if len(found) < size:
            raise self._damaged("it became shorter while it was read")
        return found

    def _within(self, end: int) -> None:
        if end > self._size:
            raise self._damaged(f"{end} bytes are expected, {self._size} are there")

    def _damaged(self, how: str) -> DataError:
        return DataError(f"LMDB {self.source!r} is damaged, or was copied while it was written: {how}")


def _key(page: bytes, node: int) -> bytes:
    (size,) = struct.unpack_from("<6xH", page, node)
    return page[node + 8 : node + 8 + size]


def _nodes(page: bytes) -> tuple[int, ...]:
    """Where in the page its nodes begin."""
    (lower,) = struct.unpack_from("<12xH", page)
    return struct.unpack_from(f"<{(lower - _HEADER) // 2}H", page, _HEADER)
