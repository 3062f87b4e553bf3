"""What sinks are made of: shards, each of which appears whole or not at all."""

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from caffepy.batch.tasks import Columns
from caffepy.errors import ArgumentError


@dataclass(frozen=True)
class Row:
    """Which picture a row is of."""

    index: int
    """Its number in the source, from 0 on."""
    key: str
    label: int | None


Add = Callable[[Sequence[Row], Columns], None]
"""Takes rows and what was asked for of them."""


class Sink(Protocol):
    """Where rows go. It can be pickled."""

    kind: ClassVar[str]

    @property
    def folder(self) -> str:
        """Where all of it is."""

    def check(self, columns: Columns) -> None:
        """Raise ArgumentError where such columns cannot be written."""

    def shard(self, number: int) -> AbstractContextManager[Add]:
        """Write a shard: it is there, in place of what was, when the block has ended well."""

    def finish(self, numbers: Sequence[int]) -> None:
        """What is to be done when these shards, all there are, are there."""


def name_of(number: int) -> str:
    """A shard's name, by which they are in order."""
    return f"part-{number:05}"


def file_names(columns: Columns) -> dict[str, str]:
    """A name for each column's files: its own, without slashes. Raises ArgumentError where two would have the same."""
    found = {name: re.sub(r"[^0-9A-Za-z._-]", "_", name) for name in columns}
    if len(set(found.values())) < len(found):
        raise ArgumentError(f"the columns {', '.join(found)} would have files of the same name; write Parquet")
    return found


def is_ragged(values: object) -> bool:
    """Whether a column has for each picture an array of its own."""
    return isinstance(values, list) and all(isinstance(value, np.ndarray) for value in values)


def one_array(values: Any) -> NDArray[Any]:
    """A column as one array, or a ragged one's arrays one after the other."""
    return np.concatenate(values) if is_ragged(values) and values else np.asarray(values)
