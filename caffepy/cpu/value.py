"""Where a storage's values are up to date, as a pass goes on."""

import ctypes
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffepy.blob.home import Home
from caffepy.blob.storage import SyncedArray
from caffepy.cpu.homes import Computed, Packed
from caffepy.device.onednn.handles import Layout, Memory


class Value:
    """Where a storage's values are up to date at one point of the pass."""

    def __init__(self, storage: SyncedArray, start: int) -> None:
        self.storage, self.start = storage, start
        found = () if storage.lent else storage.homes  # what is lent holds nothing from an earlier pass
        self.homes: dict[object, Packed] = {home.memory.layout.key: home for home in found if isinstance(home, Packed)}
        self.plain = storage.fresh or storage.moved or not self.homes
        self.copies: dict[object, Memory] = {}
        """In other layouts, for this pass only."""
        self.computed: Computed | None = next((home for home in found if isinstance(home, Computed)), None)
        self.written = self.prepared = False
        self.needs: list[Home | None] = []
        """Where the pass wants to find the values; None is the host."""

    def memory(self, layout: Layout) -> Memory | None:
        """The values in that layout."""
        if layout.key in self.homes:
            home = self.homes[layout.key]
            self.need(home)
            return home.memory
        return self.copies.get(layout.key)

    def any_memory(self) -> Memory | None:
        """The values in any packed layout."""
        for key in (*self.homes, *self.copies):
            return self.memory(self.homes[key].memory.layout if key in self.homes else self.copies[key].layout)
        return None

    def need(self, home: Home | None) -> None:
        """The pass wants to find the values there."""
        if not self.written and home not in self.needs:
            self.needs.append(home)

    def overwrite(self, home: Packed | None = None, computed: Computed | None = None) -> None:
        """From now on they are in that home, or computed when asked for, or on the host, and nowhere else."""
        self.written, self.prepared = True, False
        self.homes = {} if home is None else {home.memory.layout.key: home}
        self.copies = {}
        self.computed = computed
        self.plain = home is None and computed is None

    @property
    def left(self) -> tuple[bool, tuple[Home, ...]]:
        """Where the values are when the pass has ended."""
        return self.plain, (*self.homes.values(), *([self.computed] if self.computed else []))


def unowned(at: int, shape: Sequence[int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An array over memory that somebody else keeps alive."""
    memory: Any = (ctypes.c_char * (math.prod(shape) * dtype.itemsize)).from_address(at)
    return np.ndarray(tuple(shape), dtype, memory)
