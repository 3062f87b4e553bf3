"""Where a batch run's pictures come from."""

import glob
import os
from collections.abc import Callable, Sequence

from caffepy.batch.sources.databases import of_database
from caffepy.batch.sources.files import ENDINGS, in_folder, of_list, of_paths
from caffepy.batch.sources.items import Item, Part, Source
from caffepy.batch.sources.parquet import of_parquet
from caffepy.batch.sources.tars import of_tars
from caffepy.data.files import MARKS
from caffepy.errors import DataError, MissingFileError

__all__ = ["Item", "Part", "Source", "open_source"]

_KINDS: dict[str, Callable[[str, Sequence[str]], Source]] = {".parquet": of_parquet, ".tar": of_tars}


def open_source(source: str | os.PathLike[str], root: str = "") -> Source:
    """The pictures of a folder, a glob, Caffe's image list, an LMDB, a LevelDB, tars or Parquet files: what is there.

    root   what stands before every name of a list, as it is

    A folder that holds .parquet or .tar files is taken for these. Raises MissingFileError where there is nothing,
    DataError where it is empty or of no such kind, DeviceError where a library is missing.
    """
    path = os.fspath(source)
    if os.path.isdir(path):
        for backend, mark in MARKS.items():
            if os.path.exists(os.path.join(path, mark)):
                return of_database(path, backend)
        for ending, kind in _KINDS.items():
            if found := sorted(glob.glob(os.path.join(glob.escape(path), f"*{ending}"))):
                return kind(f"folder {path!r}", found)
        return in_folder(path)
    if os.path.exists(path):
        return _of_files(f"file {path!r}", [path], root)
    if found := sorted(glob.glob(path, recursive=True)):
        return _of_files(f"glob {path!r}", [one for one in found if not os.path.isdir(one)], root)
    where = "" if os.path.isabs(path) else f"; looked at {os.path.abspath(path)}"
    raise MissingFileError(
        f"source {path!r} is not there{where}: give a folder, a glob in quotes, a list, a database, a .tar or .parquet"
    )


def _of_files(name: str, paths: Sequence[str], root: str) -> Source:
    endings = {os.path.splitext(path)[1].lower() for path in paths}
    if not paths:
        raise DataError(f"{name} holds no file")
    for ending, kind in _KINDS.items():
        if endings == {ending}:
            return kind(name, paths)
    if endings <= set(ENDINGS):
        return of_paths(name, paths)
    if len(paths) == 1:
        return of_list(paths[0], root)
    raise DataError(f"{name} holds files that end in {', '.join(sorted(endings))}; give pictures, or .tar or .parquet")
