"""Tar files in WebDataset's layout: files that are the same up to their first dot are one item."""

import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from caffepy.batch.sources.files import ENDINGS
from caffepy.batch.sources.items import Item, clipped, digest
from caffepy.data.files import RECORD_LIMIT, open_file
from caffepy.data.pictures import decode
from caffepy.data.records import channels_first
from caffepy.data.transform import Values
from caffepy.errors import DataError


@dataclass(frozen=True)
class Member:
    """A picture: where in which tar it is, and what its .cls says."""

    key: str
    label: int | None
    tar: int
    offset: int
    size: int


@dataclass(frozen=True)
class TarPart:
    """Some of the pictures."""

    first: int
    paths: Sequence[str]
    members: Sequence[Member]

    @property
    def count(self) -> int:
        """How many items there are."""
        return len(self.members)

    def items(self, color: bool | None) -> Iterator[Item]:
        """The pictures."""
        for member in self.members:
            yield Item(member.key, partial(_read, self.paths[member.tar], member, color))


@dataclass(frozen=True)
class Tars:
    """The pictures of tars, in the order that they have there."""

    name: str
    paths: Sequence[str]
    members: Sequence[Member]

    @property
    def count(self) -> int:
        """How many items there are."""
        return len(self.members)

    @property
    def bytes(self) -> int:
        """Of all pictures."""
        return sum(member.size for member in self.members)

    @property
    def digest(self) -> str:
        """Of names, labels, places and sizes."""
        return digest(self.members)

    def part(self, first: int, count: int) -> TarPart:
        """Some of them."""
        return TarPart(first, self.paths, self.members[clipped(first, count, self.count)])


def of_tars(name: str, paths: Sequence[str]) -> Tars:
    """The pictures of these tars. Raises MissingFileError, or DataError for no plain tar or one without a picture."""
    members = [member for tar, path in enumerate(paths) for member in _members(path, tar)]
    if not members:
        raise DataError(f"{name} holds no picture: no file that ends in {', '.join(ENDINGS)}")
    return Tars(name, paths, members)


def _members(path: str, tar: int) -> Iterator[Member]:
    labels: dict[str, int] = {}
    found: list[tuple[str, tarfile.TarInfo]] = []
    try:
        with open_file(path) as file, tarfile.open(fileobj=file, mode="r:") as archive:
            for info in archive:
                folder, name = os.path.split(info.name)
                stem, _, ending = name.partition(".")
                key = os.path.join(folder, stem)
                if not info.isreg() or info.issparse() or not stem:
                    continue
                if f".{ending.rpartition('.')[2].lower()}" in ENDINGS:
                    found.append((key, info))
                elif ending == "cls":
                    labels[key] = _number(path, info)
    except (tarfile.TarError, EOFError, ValueError, OSError) as error:
        packed = "; a packed one has to be unpacked first" if path.endswith(("gz", "bz2", "xz", "zst")) else ""
        raise DataError(f"tar {path!r} cannot be read: {error}{packed}") from error
    for key, info in found:
        yield Member(key, labels.get(key), tar, info.offset_data, info.size)


def _number(path: str, info: tarfile.TarInfo) -> int:
    text = _bytes(path, info.offset_data, min(info.size, 32))
    try:
        return int(text)
    except ValueError as error:
        raise DataError(f"tar {path!r}: {info.name!r} holds {text!r}; a .cls is a whole number") from error


def _bytes(path: str, offset: int, size: int) -> bytes:
    if size > RECORD_LIMIT:
        raise DataError(f"tar {path!r}: a file of {size} bytes; more than {RECORD_LIMIT} are not read")
    with open_file(path) as file:
        file.seek(offset)
        found = file.read(size)
    if len(found) < size:
        raise DataError(f"tar {path!r} is cut off: {size} bytes are expected at {offset}, {len(found)} are there")
    return found


def _read(path: str, member: Member, color: bool | None) -> tuple[Values, int | None]:
    what = f"tar {path!r}, {member.key!r}"
    return channels_first(decode(_bytes(path, member.offset, member.size), color, what)), member.label
