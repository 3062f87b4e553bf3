"""A list of pictures as a database (tools/convert_imageset.cpp)."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from caffepy.data.bilinear import resize
from caffepy.data.encode import encode
from caffepy.data.files import PathLike, read_file
from caffepy.data.pictures import decode
from caffepy.data.records import channels_first
from caffepy.data.sources import read_list
from caffepy.data.threads import side_by_side
from caffepy.data.writer import COMMIT_EVERY, DatabaseWriter
from caffepy.errors import DataError, MissingFileError
from caffepy.proto.caffe_pb2 import Datum
from caffepy.rng import process

log = logging.getLogger("caffepy")

Line = tuple[str, int]
"""A picture's name and its label."""

_AT_ONCE = 64
"""Lines whose pictures are in memory together."""


@dataclass(frozen=True)
class Conversion:
    """How pictures become records.

    size      (height, width) to resize to, if both are above 0
    encoded   keep or make picture files instead of raw values; encoding, an ending such as "png", says so too, and
              which: without it, it is that of each picture's name
    """

    gray: bool = False
    shuffle: bool = False
    size: tuple[int, int] = (0, 0)
    check_size: bool = False
    encoded: bool = False
    encoding: str = ""


@dataclass
class Converted:
    """How many records were written, and how many lines left out."""

    written: int = 0
    skipped: int = 0


def convert(
    root_folder: str,
    source: PathLike,
    path: PathLike,
    backend: str = "lmdb",
    how: Conversion | None = None,
    *,
    progress: Callable[[Sequence[Line]], Iterable[Line]] = iter,
) -> Converted:
    """Make database `path` of the pictures that `source` lists, below `root_folder`, which stands before every name.

    progress   is given the lines and gives them back as they are worked on, as tqdm does

    Keys are the line's number, eight digits, and the name. A picture that cannot be read is left out, with an error in
    the log. Raises what DatabaseWriter raises; DataError where check_size finds a record of another size than the
    first; ArgumentError for an encoding there is none of.
    """
    how = how or Conversion()
    lines = _lines(source)
    if how.shuffle:
        process().shuffle(lines)
    log.info("A total of %d images.", len(lines))
    done, first_size = Converted(), -1
    with DatabaseWriter(path, backend) as database:
        numbered = enumerate(progress(lines))
        while part := list(islice(numbered, _AT_ONCE)):
            datums = side_by_side(lambda entry: _datum_or_none(root_folder + entry[1][0], entry[1][1], how), part)
            for (number, (name, _)), datum in zip(part, datums, strict=True):
                if datum is None:
                    done.skipped += 1
                    continue
                if how.check_size:
                    first_size = _check_size(datum, first_size, f"record {number} ({name})")
                database.put(f"{number:08}_{name}".encode(errors="surrogateescape"), datum.SerializeToString())
                done.written += 1
                if done.written % COMMIT_EVERY == 0:
                    log.info("Processed %d files.", done.written)
    log.info("Processed %d files.", done.written)
    return done


def picture_datum(path: str, label: int, how: Conversion) -> Datum:
    """One picture as a record (ReadImageToDatum: io.cpp). Raises MissingFileError, or DataError for no picture."""
    data, resized = read_file(path), min(how.size) > 0
    picture = decode(data, not how.gray, f"picture {path!r}")
    if resized:
        picture = resize(picture, *how.size)
    ending = path.rpartition(".")[2].lower()
    if encoding := (how.encoding or (ending if how.encoded else "")).lower():
        kept = not resized and (ending == encoding or (encoding, ending) == ("jpg", "jpeg"))
        return Datum(data=data if kept else encode(picture, encoding), label=label, encoded=True)
    values = channels_first(picture)
    channels, height, width = values.shape
    return Datum(channels=channels, height=height, width=width, data=values.tobytes(), label=label, encoded=False)


def _lines(source: PathLike) -> list[Line]:
    """The list's lines; none, as in Caffe, where it cannot be read."""
    try:
        return read_list(source)
    except (MissingFileError, DataError) as error:
        log.error("%s", error)
        return []


def _datum_or_none(path: str, label: int, how: Conversion) -> Datum | None:
    try:
        return picture_datum(path, label, how)
    except (MissingFileError, DataError) as error:
        log.error("left out: %s", error)
        return None


def _check_size(datum: Datum, expected: int, what: str) -> int:
    """The values of the first record; -1 is expected of it."""
    if expected < 0:
        return datum.channels * datum.height * datum.width
    if len(datum.data) != expected:
        raise DataError(f"check_size: {what} has {len(datum.data)} bytes, the first record's shape says {expected}")
    return expected
