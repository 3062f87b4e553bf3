"""Rows of HDF5 files that a text file lists (src/caffe/layers/hdf5_data_layer.cpp)."""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from caffepy.blob import Floats, Shape
from caffepy.data.c_rand import process_rand
from caffepy.data.files import PathLike, open_file, read_lines
from caffepy.errors import DataError, ProtoError
from caffepy.proto.hdf5_file import Hdf5Reader

LOAD_LIMIT = 2**31
"""Bytes, as float32, up to which a file's data sets are read whole; beyond, row by row."""
_MOST = 2**31 - 1
"""Elements of a row: what a blob of Caffe's counts with."""


class Hdf5File:
    """The data sets `names` of one file, which have the same number of rows."""

    def __init__(self, path: str, names: Sequence[str]) -> None:
        self.path = path
        open_file(path).close()  # a regular file, and one that may be opened
        with _as_data():
            self._file = Hdf5Reader(path)
        try:
            self._sets: list[Any] = [self._open(name) for name in names]
            self.rows: int = self._sets[0].shape[0]
            for name, dataset in zip(names, self._sets, strict=True):
                if dataset.shape[0] != self.rows:
                    raise DataError(
                        f"{path!r}: data set {name!r} has {dataset.shape[0]} rows, {names[0]!r} has {self.rows}"
                    )
            self._whole = sum(4 * math.prod(dataset.shape) for dataset in self._sets) <= LOAD_LIMIT
            for name, dataset in zip(names, self._sets, strict=True):
                with _as_data(f"data set {name!r}: "):
                    self._file.check(dataset, by_rows=not self._whole)
            if self._whole:
                self._sets = [self._read(dataset, ()) for dataset in self._sets]
        except BaseException:
            self._file.close()
            raise

    @property
    def shapes(self) -> list[Shape]:
        """Of a row of each data set."""
        return [tuple(dataset.shape[1:]) for dataset in self._sets]

    def read(self, index: int, rows: Sequence[int]) -> Floats:
        """These rows of data set `index`."""
        dataset = self._sets[index]
        if isinstance(dataset, np.ndarray):
            return dataset[rows]
        return np.stack([self._read(dataset, row) for row in rows])

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _open(self, name: str) -> Any:
        with _as_data(f"data set {name!r}: "):
            dataset = self._file.dataset(name)
        where, shape, kind = f"{self.path!r}, data set {name!r}", dataset.shape, dataset.dtype.kind
        if kind not in "fiu":
            raise DataError(f"{where} holds {dataset.dtype}; numbers are read, integers or of floating point")
        if not shape or min(shape) < 1 or math.prod(shape[1:]) > _MOST:
            raise DataError(f"{where} has shape {shape}; the first axis counts rows, which hold 1 to {_MOST} numbers")
        return dataset

    def _read(self, dataset: Any, what: Any) -> Floats:
        with _as_data():
            values: Floats = self._file.read(dataset, what).astype(np.float32, copy=False)
        return values


@contextmanager
def _as_data(what: str = "") -> Iterator[None]:
    try:
        yield
    except ProtoError as error:
        raise DataError(f"{what}{error}") from error


class Hdf5Source:
    """The rows of the files that `source` lists, separated by white space, from the first again behind the last.

    names     the data sets
    shuffle   files in random order, and rows within each: with C's rand(), as Caffe's

    Raises MissingFileError, or DataError for files that do not fit.
    """

    def __init__(self, source: PathLike, names: Sequence[str], *, shuffle: bool = False) -> None:
        self.names, self.shuffle = list(names), shuffle
        self.files = " ".join(read_lines(source)).split()
        if not self.files:
            raise DataError(f"list {os.fspath(source)!r} names no file; give at least one HDF5 file")
        self._order = list(range(len(self.files)))
        self._shuffle(self._order)
        self._at = 0
        self._load()
        self.shapes = self.file.shapes

    def read(self, count: int) -> list[Floats]:
        """The next `count` rows of every data set."""
        out = [np.empty((count, *shape), np.float32) for shape in self.shapes]
        done = 0
        while done < count:
            rows = self._rows[self._row : self._row + count - done]
            for index, values in enumerate(out):
                values[done : done + len(rows)] = self.file.read(index, rows)
            done += len(rows)
            self._row += len(rows)
            if self._row == len(self._rows):
                self._next_file()
        return out

    def _next_file(self) -> None:
        if len(self.files) > 1:
            self._at += 1
            if self._at == len(self.files):
                self._at = 0
                self._shuffle(self._order)
            self.file.close()
            self._load()
            if self.file.shapes != self.shapes:
                raise DataError(f"{self.file.path!r} has rows of {self.file.shapes}, the first file of {self.shapes}")
        self._row = 0
        self._shuffle(self._rows)

    def _load(self) -> None:
        self.file = Hdf5File(self.files[self._order[self._at]], self.names)
        self._rows, self._row = list(range(self.file.rows)), 0
        self._shuffle(self._rows)

    def _shuffle(self, items: list[int]) -> None:
        if self.shuffle:
            process_rand.shuffle(items)
