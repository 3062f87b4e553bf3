"""Batches: items read side by side, transformed into one array."""

import itertools
import logging
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from caffepy.blob import Floats, Shape
from caffepy.data.sources import Item, Source
from caffepy.data.transform import DataTransformer, Draws, Values
from caffepy.errors import CaffeError, DataError, MissingFileError

log = logging.getLogger("caffepy")

BAD = (DataError, MissingFileError)
"""What a record may raise that can be skipped."""


@dataclass
class Batch:
    """data (n, channels, height, width), labels (n)."""

    data: Floats
    labels: Floats


class _Read(NamedTuple):
    """An item's values and label, and the shape that its values come out in."""

    values: Values
    label: float
    shape: Shape


def cores() -> int:
    """How many cores the process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_pool: ThreadPoolExecutor | None = None


def _helpers() -> ThreadPoolExecutor:
    """The threads that decode beside those that make batches: all cores in all."""
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(max(1, cores() - 1), "caffepy-decode")
    return _pool


def _forget_pool() -> None:
    global _pool
    _pool = None  # threads do not survive a fork


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


class BatchMaker:
    """Batches of a source's items, in its order, one at a time.

    skip_bad   whether what cannot be read is left out, its place taken by a later item; else it raises

    Raises DataError or MissingFileError at the item that cannot be read, or whose shape is not its batch's first's.
    """

    def __init__(
        self, source: Source, transformer: DataTransformer, batch_size: int, *, skip_bad: bool = False
    ) -> None:
        self.source, self.transformer, self.batch_size, self.skip_bad = source, transformer, batch_size, skip_bad
        self.skipped = 0
        """How many items were left out."""
        self._items = source.items()
        self._good_epoch = 0

    def first_shape(self) -> Shape:
        """The (channels, height, width) that the first batch's items will come out in. Nothing is drawn."""
        while (first := self._try(item := next(self._items))) is None:
            pass
        self._items = itertools.chain([item], self._items)
        return first.shape

    def make(self, spare: Batch | None = None) -> Batch:
        """The next batch, in the memory of `spare` if that has the right shape."""
        item, draws = self._next()
        while (first := self._try(item)) is None:
            item, draws = self._next()
        batch = self._memory((self.batch_size, *first.shape), spare)
        self._write(batch, 0, first, draws)
        rest = [(slot, *self._next()) for slot in range(1, self.batch_size)]
        for slot in self._fill(batch, rest, side_by_side=item.slow):
            while self._fill(batch, [(slot, *self._next())], side_by_side=False):
                pass
        return batch

    def _next(self) -> tuple[Item, Draws]:
        item = next(self._items)
        if item.epoch > self._good_epoch + 1:
            raise DataError(f"{item.what}: every item before it in the epoch was bad, {self.skipped} in all")
        return item, self.transformer.draw()

    def _memory(self, shape: Shape, spare: Batch | None) -> Batch:
        if spare is not None and spare.data.shape == shape:
            return spare
        try:
            return Batch(np.empty(shape, np.float32), np.empty(shape[:1], np.float32))
        except (MemoryError, ValueError) as error:
            raise DataError(f"a batch of shape {shape} does not fit into memory; make batch_size smaller") from error

    def _fill(self, batch: Batch, slots: list[tuple[int, Item, Draws]], *, side_by_side: bool) -> list[int]:
        """Read items into their slots; the slots of those that were bad."""
        bad: dict[int, CaffeError] = {}
        work, failed = iter(slots), threading.Event()

        def some() -> None:
            for slot, item, draws in work:  # a list's iterator gives each element to one thread
                if failed.is_set():
                    return
                try:
                    self._write(batch, slot, self._read(item, batch.data.shape[1:]), draws)
                except BAD as error:
                    bad[slot] = error
                    if not self.skip_bad:
                        failed.set()  # all slots before this one are being read already

        helpers: list[Future[None]] = []
        if side_by_side and len(slots) > 1:
            helpers = [_helpers().submit(some) for _ in range(min(cores() - 1, len(slots) - 1))]
        some()
        for helper in helpers:
            if not helper.cancel():
                helper.result()
        if bad and not self.skip_bad:
            raise bad[min(bad)]
        for slot in sorted(bad):
            self._skip(bad[slot])
        return sorted(bad)

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
            self._skip(error)
            return None

    def _write(self, batch: Batch, slot: int, found: _Read, draws: Draws) -> None:
        self.transformer.apply(found.values, draws, batch.data[slot])
        batch.labels[slot] = found.label

    def _skip(self, error: CaffeError) -> None:
        self.skipped += 1
        log.warning("bad record skipped, the %d. so far: %s", self.skipped, error)
