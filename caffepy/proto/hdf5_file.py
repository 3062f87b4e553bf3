"""HDF5 files of whoever's making: what a file itself holds is read, once it has been looked at, and nothing else.

HDF5 can point to other files (links, external storage, virtual data sets), name a group in more ways than can be
counted, and load filters as plug-ins; and its library trusts what a file's index says of the sizes of chunks.
"""

import math
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from caffepy.errors import CaffeError, ProtoError, StateError
from caffepy.limits import most_memory, too_much
from caffepy.proto.files import PathLike, open_binary

_DAMAGED = (OSError, KeyError, RuntimeError, ValueError, TypeError, IndexError, AttributeError, MemoryError)
"""What h5py raises for a damaged file."""
_MOST_OBJECTS = 200_000
_GZIP, _SHUFFLE, _FLETCHER32, _LZF = 1, 2, 3, 32000
_FILTERS = {_GZIP: "gzip", _SHUFFLE: "shuffle", _FLETCHER32: "fletcher32", _LZF: "lzf"}
_CHECKSUM = 4  # bytes of a Fletcher32


@contextmanager
def open_hdf5(path: PathLike) -> Iterator["Hdf5Reader"]:
    """The file, closed at the end. Raises MissingFileError, ProtoError for what is no HDF5 file."""
    reader = Hdf5Reader(path)
    try:
        yield reader
    finally:
        reader.close()


class Hdf5Reader:
    """An open HDF5 file. Its data sets are found over hard links only, and looked at before anything of them is read.

    Raises MissingFileError, ProtoError for what is no HDF5 file.
    """

    def __init__(self, path: PathLike) -> None:
        import h5py

        self.path = os.fspath(path)
        open_binary(path).close()  # there, and a regular file
        try:
            self._file = h5py.File(path, "r")
        except _DAMAGED as error:
            raise ProtoError(f"{self.path}: not a whole HDF5 file ({error}); download or copy it again") from error
        self.close = self._file.close

    @property
    def names(self) -> list[str]:
        """Of what stands at the top."""
        with self._understood():
            return [name for name, _ in self._members(self._file, "")]

    def walk(self, top: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every group below `top`, by its path from there, and its data sets by name; not yet looked at.

        Raises ProtoError where a group has several names, or there are more objects than any net has.
        """
        import h5py

        with self._understood():
            start = self._child(self._file, top, "")
            if not isinstance(start, h5py.Group):
                raise ProtoError(f"{self.path}: expected a group /{top}; found {self.names or 'nothing'}")
            seen, objects, waiting = set(), 0, [("", start)]
            while waiting:
                name, group = waiting.pop()
                address = h5py.h5o.get_info(group.id).addr
                if address in seen:
                    raise ProtoError(f"{self.path}: the group {group.name!r} has several names; write the file anew")
                seen.add(address)
                sets, below = {}, []
                for key, member in self._members(group, f"/{top}/{name}".rstrip("/")):
                    objects += 1
                    if objects > _MOST_OBJECTS:
                        raise ProtoError(f"{self.path} holds more than {_MOST_OBJECTS} objects, which is no net's")
                    if isinstance(member, h5py.Dataset):
                        sets[key] = member
                    elif isinstance(member, h5py.Group):
                        below.append((f"{name}/{key}" if name else key, member))
                yield name, sets
                waiting += reversed(below)

    def dataset(self, path: str) -> Any:
        """The data set of that path from the top, not yet looked at. Raises ProtoError where there is none."""
        import h5py

        with self._understood():
            found: Any = self._file
            for part in path.strip("/").split("/"):
                found = self._child(found, part, path) if isinstance(found, h5py.Group) else None
            if not isinstance(found, h5py.Dataset):
                raise ProtoError(f"{self.path}: the file has no data set {path!r}; it has {', '.join(self.names)}")
            return found

    def values(self, path: str, *, text: bool = False) -> Any:
        """What the data set of that path holds, numbers or `text`."""
        dataset = self.dataset(path)
        self.check(dataset, text=text)
        return self.read(dataset)

    def read(self, dataset: Any, part: Any = ()) -> Any:
        """What it holds, once it is checked."""
        with self._understood(f"cannot read {self._name(dataset)}"):
            return np.asarray(dataset[part])

    def read_into(self, dataset: Any, out: Any) -> None:
        """Check it and write all of it into an array of its shape. Raises StateError once the file is closed."""
        if not self._file:  # what h5py says of a closed one
            raise StateError(f"{self.path}: the file is closed; read its blobs inside the `with open_weights(...)`")
        self.check(dataset)
        with self._understood(f"cannot read {self._name(dataset)}"):
            dataset.read_direct(out)

    def check(self, dataset: Any, *, by_rows: bool = False, text: bool = False) -> None:
        """Raise ProtoError for a data set whose numbers the file does not hold itself, whole, in chunks that are sound.

        by_rows   it need not fit into memory, only a row of it does
        text      it may hold bytes of fixed length

        Filters are h5py's own; but for `by_rows` none inflates a chunk beyond its size.
        """
        with self._understood(f"cannot read {self._name(dataset)}"):
            self._check(dataset, by_rows=by_rows, text=text)

    # ---- inside

    def _check(self, dataset: Any, *, by_rows: bool, text: bool) -> None:
        import h5py

        plist, shape, dtype = dataset.id.get_create_plist(), dataset.shape, dataset.dtype
        if plist.get_external_count() or plist.get_layout() == h5py.h5d.VIRTUAL:
            raise self._error(dataset, "stands in another file")
        if not (dtype.kind in "fiu" and dtype.itemsize <= 8) and not (text and dtype.kind == "S"):
            raise self._error(dataset, f"holds {dtype}, not numbers of 64 bits at most")
        if shape is None:
            raise self._error(dataset, "holds nothing")
        held = shape[1:] if by_rows else shape
        if (needed := max(dtype.itemsize, 4) * math.prod(held)) > (most := most_memory()):
            raise self._error(dataset, f"of shape {shape} {too_much(needed, most)}")
        if plist.get_layout() == h5py.h5d.CHUNKED:
            self._check_chunks(dataset, plist, inflated=not by_rows)
        elif dataset.id.get_storage_size() != dtype.itemsize * math.prod(shape):
            raise self._error(dataset, f"of shape {shape} is not stored whole")

    def _members(self, group: Any, where: str) -> Iterator[tuple[str, Any]]:
        import h5py

        if len(group) > _MOST_OBJECTS:
            raise ProtoError(f"{self.path}: {where or '/'} holds more than {_MOST_OBJECTS} objects, which is no net's")
        for raw in group.id:
            try:
                name = raw.decode()
            except UnicodeDecodeError as error:
                raise ProtoError(f"{self.path}: {where}/{raw!r}: the name is no UTF-8; write the file anew") from error
            if group.id.links.get_info(raw).type != h5py.h5l.TYPE_HARD:
                raise ProtoError(
                    f"{self.path}: {where}/{name} is a link to another place or another file, which is not followed; "
                    "write the file anew, with the values in it"
                )
            yield name, group[name]

    def _child(self, group: Any, name: str, where: str) -> Any:
        import h5py

        raw = name.encode()
        if name in ("", ".") or not group.id.links.exists(raw):
            return None
        if group.id.links.get_info(raw).type != h5py.h5l.TYPE_HARD:
            raise ProtoError(f"{self.path}: {where or name!r} leads over a link, which is not followed")
        return group[name]

    def _check_chunks(self, dataset: Any, plist: Any, *, inflated: bool) -> None:
        filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
        unknown = [each for each in filters if each not in _FILTERS]
        if unknown or len(filters) > len(set(filters)) or {_GZIP, _LZF} <= set(filters):
            raise self._error(dataset, f"is packed by filters {filters}; each of {_FILTERS} is read once at most")
        if (size := dataset.dtype.itemsize * math.prod(dataset.chunks)) > (most := most_memory()):
            raise self._error(dataset, f"has chunks of shape {dataset.chunks}, one of which {too_much(size, most)}")
        counts = [-(-extent // step) for extent, step in zip(dataset.shape, dataset.chunks, strict=True)]
        if dataset.id.get_num_chunks() != math.prod(counts):
            raise self._error(dataset, f"has {dataset.id.get_num_chunks()} of its {math.prod(counts)} chunks")
        places: set[tuple[int, ...]] = set()
        for info in _chunks(dataset):
            offsets = zip(info.chunk_offset, dataset.chunks, dataset.shape, strict=True)
            if info.chunk_offset in places or any(at % step or at >= extent for at, step, extent in offsets):
                raise self._error(dataset, f"has no place for a chunk at {info.chunk_offset}")
            places.add(info.chunk_offset)
            applied = [each for j, each in enumerate(filters) if not info.filter_mask >> j & 1]
            self._check_chunk(dataset, info, applied, size, inflated=inflated)

    def _check_chunk(self, dataset: Any, info: Any, filters: list[int], size: int, *, inflated: bool) -> None:
        """Raise ProtoError for a chunk that is too short for its filters, or does not unpack to `size` bytes."""
        before = size + _CHECKSUM * (_FLETCHER32 in filters[: _place(filters)])
        after = _CHECKSUM * (_FLETCHER32 in filters[_place(filters) :])
        packed = _GZIP in filters or _LZF in filters
        if info.size <= after or info.size > 2 * size + 1024 or not (packed or info.size == before + after):
            raise self._error(dataset, f"has a chunk of {info.size} bytes at {info.chunk_offset}, which cannot be")
        if _GZIP in filters and inflated:
            _, raw = dataset.id.read_direct_chunk(info.chunk_offset)
            if len(zlib.decompressobj().decompress(raw[: len(raw) - after], before + 1)) != before:
                raise self._error(dataset, f"has a chunk at {info.chunk_offset} that does not unpack to {before} bytes")

    def _name(self, dataset: Any) -> str:
        return str(dataset.name) if dataset else "a data set"

    def _error(self, dataset: Any, what: str) -> ProtoError:
        return ProtoError(f"{self.path}: {self._name(dataset)} {what}; download the file again, or write it anew")

    @contextmanager
    def _understood(self, what: str = "damaged HDF5 file") -> Iterator[None]:
        try:
            yield
        except CaffeError:
            raise
        except (*_DAMAGED, zlib.error) as error:
            raise ProtoError(f"{self.path}: {what} ({error}); download or copy it again") from error


def _chunks(dataset: Any) -> list[Any]:
    """What the index says of every chunk."""
    if not hasattr(dataset.id, "chunk_iter"):  # of an older h5py
        return [dataset.id.get_chunk_info(i) for i in range(dataset.id.get_num_chunks())]
    found: list[Any] = []
    dataset.id.chunk_iter(found.append)
    return found


def _place(filters: list[int]) -> int:
    """Where what packs stands among the filters: those behind it were applied to what it made."""
    return next((i for i, each in enumerate(filters) if each in (_GZIP, _LZF)), len(filters))
