"""Batches: items read side by side, transformed into one array."""

import itertools
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from caffepy.blob import Floats, Shape
from caffepy.data.sources import Item, Source
from caffepy.data.threads import side_by_side
from caffepy.data.transform import DataTransformer, Draws, Values
from caffepy.errors import CaffeError, DataError, MissingFileError

log = logging.getLogger("caffepy")

_TOLD = 20
"""So many bad records are named each; then every thousandth."""

_MOST = 2**31 - 1
"""Values of a batch: what a blob of Caffe's counts with."""

BAD = (DataError, MissingFileError)
"""What a record may raise that can be skipped."""


@dataclass
class Batch:
    """data (n, channels, height, width), labels (n)."""

    data: Floats
    labels: Floats


class Slot(NamedTuple):
    """A place in a batch, the item for it, and what chance says of that."""

    place: int
    item: Item
    draws: Draws


class _Read(NamedTuple):
    """An item's values and label, and the shape that its values come out in."""

    values: Values
    label: float
    shape: Shape


class BatchMaker:
    """Batches of a source's items, in its order, one at a time.

    skip_bad   whether what cannot be read is left out, its place taken by a later item; else it raises
    share      (k, n): of each n items number k

    Raises DataError or MissingFileError at the item that cannot be read, or whose shape is not its batch's first's.
    """

    def __init__(
        self,
        source: Source,
        transformer: DataTransformer,
        batch_size: int,
        *,
        skip_bad: bool = False,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.source, self.transformer, self.batch_size, self.skip_bad = source, transformer, batch_size, skip_bad
        self.skipped = 0
        """How many items were left out."""
        first, step = share
        self._items: Iterator[Item] = itertools.islice(source.items(), first, None, step)
        self._good_epoch = 0

    def first_shape(self) -> Shape:
        """The (channels, height, width) that the first batch's items will come out in. Nothing is drawn."""
        while (first := self._try(item := next(self._items))) is None:
            pass
        self._items = itertools.chain([item], self._items)
        if (count := self.batch_size * math.prod(first.shape)) > _MOST:
            raise DataError(
                f"a batch of {self.batch_size} items of {first.shape} has {count} values; at most {_MOST} fit"
            )
        return first.shape

    def make(self, spare: Batch | None = None) -> Batch:
        """The next batch, in the memory of `spare` if that has the right shape."""
        slot = self._next(0)
        while (first := self._try(slot.item)) is None:
            slot = self._next(0)
        batch = self._memory((self.batch_size, *first.shape), spare)
        self._write(batch, slot, first)
        bad = self._fill(batch, [self._next(i) for i in range(1, self.batch_size)], slow=slot.item.slow)
        while bad:
            bad = self._fill(batch, [self._next(slot.place) for slot in bad], slow=False)
        return batch

    def _next(self, place: int) -> Slot:
        item = next(self._items)
        return Slot(place, item, self.transformer.draw())

    def _memory(self, shape: Shape, spare: Batch | None) -> Batch:
        if spare is not None and spare.data.shape == shape:
            return spare
        try:
            return Batch(np.empty(shape, np.float32), np.empty(shape[:1], np.float32))
        except (MemoryError, ValueError) as error:
            raise DataError(f"a batch of shape {shape} does not fit into memory; make batch_size smaller") from error

    def _fill(self, batch: Batch, slots: Sequence[Slot], *, slow: bool) -> list[Slot]:
        """Read items into their slots; those that were bad."""

        def read(slot: Slot) -> CaffeError | None:
            try:
                self._write(batch, slot, self._read(slot.item, batch.data.shape[1:]))
            except BAD as error:
                if not self.skip_bad:
                    raise
                return error
            return None

        errors = side_by_side(read, slots) if slow else [read(slot) for slot in slots]
        for slot, error in zip(slots, errors, strict=True):
            if error is not None:
                self._skip(slot.item, error)
        return [slot for slot, error in zip(slots, errors, strict=True) if error]

    def _read(self, item: Item, like: Shape | None = None) -> _Read:
        """The item, of which `like` is to be the shape."""
        values, label = item.read()
        try:
            shape = self.transformer.shape(values.shape)
        except DataError as error:
            raise DataError(f"{item.what}: {error}") from error
        if like is not None and shape != like:
            raise DataError(f"{item.what} gives shape {shape}, the first item of its batch {like}")
        self._good_epoch = max(self._good_epoch, item.epoch)
        return _Read(values, label, shape)

    def _try(self, item: Item) -> _Read | None:
        """The item; None if it is bad and skipped."""
        try:
            return self._read(item)
        except BAD as error:
            if not self.skip_bad:
                raise
            self._skip(item, error)
            return None

    def _write(self, batch: Batch, slot: Slot, found: _Read) -> None:
        self.transformer.apply(found.values, slot.draws, batch.data[slot.place])
        batch.labels[slot.place] = found.label

    def _skip(self, item: Item, error: CaffeError) -> None:
        if item.epoch > self._good_epoch + 1:
            raise DataError(f"{error}; a whole epoch before it was bad as well, {self.skipped} records in all")
        self.skipped += 1
        if self.skipped <= _TOLD or self.skipped % 1000 == 0:
            log.warning("bad record left out, number %d: %s", self.skipped, error)
