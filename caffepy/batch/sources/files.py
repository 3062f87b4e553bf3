"""Pictures in files: a folder, a glob, Caffe's lists."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from caffepy.batch.sources.items import Item, clipped, digest
from caffepy.data.files import read_file
from caffepy.data.pictures import decode
from caffepy.data.records import channels_first
from caffepy.data.sources import read_list
from caffepy.data.transform import Values
from caffepy.errors import DataError

ENDINGS = (".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".gif", ".pgm", ".ppm", ".pbm", ".pnm", ".tif", ".tiff", ".webp")
"""Files of a folder that are taken for pictures."""


@dataclass(frozen=True)
class FilesPart:
    """Some of the files."""

    first: int
    root: str
    names: Sequence[str]
    labels: Sequence[int] | None

    @property
    def count(self) -> int:
        """How many items there are."""
        return len(self.names)

    def items(self, color: bool | None) -> Iterator[Item]:
        """The files' pictures."""
        for i, name in enumerate(self.names):
            label = None if self.labels is None else self.labels[i]
            key = name.encode(errors="surrogateescape").decode(errors="replace")
            yield Item(key, partial(_read, self.root + name, color, label))


@dataclass(frozen=True)
class Files:
    """Files by name, in this order; `root` stands before every name as it is."""

    name: str
    root: str
    names: Sequence[str]
    labels: Sequence[int] | None
    sizes: Sequence[int]

    @property
    def count(self) -> int:
        """How many items there are."""
        return len(self.names)

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(self.sizes)

    @property
    def digest(self) -> str:
        """Of names, labels and sizes."""
        return digest(zip(self.names, self.labels or self.names, self.sizes, strict=True))

    def part(self, first: int, count: int) -> FilesPart:
        """Some of them."""
        some = clipped(first, count, self.count)
        return FilesPart(first, self.root, self.names[some], None if self.labels is None else self.labels[some])


def in_folder(folder: str) -> Files:
    """The pictures in a folder and in those below, by their names' order. Raises DataError where there is none."""
    found: list[tuple[str, int]] = []
    waiting = [""]
    while waiting:
        below = waiting.pop()
        with os.scandir(os.path.join(folder, below)) as entries:
            for entry in entries:
                name = os.path.join(below, entry.name)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(name)
                elif entry.name.lower().endswith(ENDINGS) and not entry.name.startswith("."):
                    found.append((name, _size(entry.path)))
    if not found:
        raise DataError(f"folder {folder!r} holds no picture: no file that ends in {', '.join(ENDINGS)}")
    found.sort()
    names, sizes = zip(*found, strict=True)
    return Files(f"folder {folder!r}", os.path.join(folder, ""), names, None, sizes)


def of_paths(name: str, paths: Iterable[str]) -> Files:
    """The files themselves."""
    names = sorted(paths)
    return Files(name, "", names, None, [_size(path) for path in names])


def of_list(path: str, root: str) -> Files:
    """The lines of a list: a file's name, a space and a label. Raises MissingFileError, or DataError for no line."""
    lines = read_list(path)
    names, labels = zip(*lines, strict=True)
    return Files(f"list {path!r}", root, names, labels, [_size(root + name) for name in names])


def _size(path: str) -> int:
    """Of a file that is not there, 0: reading it says so."""
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return 0


def _read(path: str, color: bool | None, label: int | None) -> tuple[Values, int | None]:
    return channels_first(decode(read_file(path), color, f"picture {path!r}")), label
