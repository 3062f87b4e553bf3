"""Pictures: a folder of PNGs for each shard."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from caffepy.batch.sinks.shards import Add, Row, name_of
from caffepy.batch.tasks import Columns
from caffepy.errors import ArgumentError
from caffepy.proto.files import replacing_folder
from caffepy.saliency.pictures import png

_PICTURE = "picture"


@dataclass(frozen=True)
class PngSink:
    """part-00000/0000000000_cat.png ...: the picture's number in the source, and its key without folder and ending."""

    kind: ClassVar[str] = "png"
    folder: str

    def check(self, columns: Columns) -> None:
        """Raise ArgumentError unless there is a column of pictures, (height, width[, 3]) of uint8."""
        found = columns.get(_PICTURE)
        if found is None or not all(np.asarray(one).dtype == np.uint8 for one in found):
            raise ArgumentError(
                "PNGs are written of saliency's maps and overlays, or of a function's column 'picture' of uint8 "
                f"(height, width, 3); there are {', '.join(columns)}"
            )

    @contextmanager
    def shard(self, number: int) -> Iterator[Add]:
        """Write a shard."""
        with replacing_folder(os.path.join(self.folder, name_of(number))) as beside:

            def add(rows: Sequence[Row], columns: Columns) -> None:
                for row, picture in zip(rows, columns[_PICTURE], strict=True):
                    stem = os.path.splitext(os.path.basename(row.key))[0]
                    name = f"{row.index:010}_{re.sub(r'[^0-9A-Za-z._-]', '_', stem)[:100]}.png"
                    with open(os.path.join(beside, name), "wb") as file:
                        file.write(png(np.asarray(picture)))

            yield add

    def finish(self, numbers: Sequence[int]) -> None:
        """All is done."""
