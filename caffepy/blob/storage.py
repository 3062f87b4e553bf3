"""Storage that grows, whose values have a home on the host and others away from it: on a GPU, or in a packed layout."""

import sys
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from caffepy import device
from caffepy.blob.gpu_home import GpuHome
from caffepy.blob.halves import Format, HalfHome
from caffepy.blob.home import MOVING, Home, Receiver
from caffepy.device import pages
from caffepy.errors import DeviceError

Shape = tuple[int, ...]
Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

Access = Literal["read", "update", "overwrite"]
"""What a pass does to an array."""

_local = threading.local()


class _Alone:
    __slots__ = ("array",)

    def __init__(self) -> None:
        self.array = np.empty(0)


_alone = _Alone()
_OWN_REFERENCES = sys.getrefcount(_alone.array)
"""Of an array that nothing but an attribute refers to."""


class Watcher(Protocol):
    """Who repeats a pass without asking every storage again."""

    touched: set["SyncedArray"]
    """Storages that are no longer as the pass left them."""


class SyncedArray:
    """Flat storage of one dtype: made on first use, zero until written.

    It knows where its values are up to date, on the host or in homes away from it, and moves them to where they are
    asked for. Capacity is kept when less is asked for; growing starts from zeros again, as in Caffe.
    """

    __slots__ = (
        "__weakref__",
        "_capacity",
        "_current",
        "_fresh",
        "_gpu_home",
        "_half_home",
        "_host",
        "_watchers",
        "before_asked",
        "derived",
        "dtype",
        "generation",
        "lent",
        "moved",
        "places",
        "private",
    )

    def __init__(self, dtype: DTypeLike = np.float32, *, private: bool = False):
        self.dtype = dtype
        self.private = private
        """Nobody but the passes of one net looks at it, and none of them after its values were used."""
        self.derived = False
        """Some pass keeps values that it computed from these, and has to hear of every write."""
        self.generation = 0
        """How often the memory has started from zeros."""
        self.places = 0
        """How often the memory has lost its place."""
        self.moved = False
        """The host's memory was given back, and no pass has written the values since."""
        self.lent: tuple[SyncedArray, int] | None = None
        """Memory that takes the place of its own in passes, from an element on; others use it at other times."""
        self.before_asked: Callable[[SyncedArray, bool], None] | None = None
        """Called before a script gets at this memory, on the host or (True) on a GPU."""
        self._capacity = 0
        self._host: NDArray[Any] | None = None
        self._fresh = True
        self._current: tuple[Home, ...] = ()
        self._gpu_home: GpuHome | None = None
        self._half_home: HalfHome | None = None
        self._watchers: weakref.WeakSet[Any] | None = None

    # ---- on the host

    @property
    def on_host(self) -> bool:
        """Whether the host has a copy."""
        return self._host is not None

    @property
    def gpu(self) -> device.Gpu | None:
        """The GPU that has a copy."""
        return None if self._gpu_home is None else self._gpu_home.gpu

    def host(self, count: int, access: Access = "update") -> NDArray[Any]:
        """The first `count` elements on the host; unless they are only read, no other home holds them from now on."""
        if access == "overwrite":
            self._fresh = True
        array = self.read_host(count)
        if access != "read":
            self._wait()
            self._current = ()
            self.tell()
        return array

    def read_host(self, count: int) -> NDArray[Any]:
        """The first `count` elements on the host, for reading only."""
        array = self.plain(count)
        if not self._fresh:
            assert self._host is not None
            with MOVING:
                pass  # they are in no home before they are wholly there
            self._wait()
            self._current[0].download(self._host)
            self._fresh = True
            self.tell()
        return array

    def plain(self, count: int) -> NDArray[Any]:
        """The host's memory for the first `count` elements, up to date or not."""
        self.reserve(count)
        if self._host is None:
            self._host = device.current().host_zeros(self._capacity, self.dtype)
        return self._host[:count]

    @property
    def viewed(self) -> bool:
        """Whether somebody holds a view of the host's memory: scripts keep one, read it later and write to it."""
        return self._host is not None and sys.getrefcount(self._host) > _OWN_REFERENCES

    @property
    def viewed_on_gpu(self) -> bool:
        """Likewise of the memory on the GPU, where the values are up to date."""
        home = self._gpu_home
        return home is not None and home in self._current and sys.getrefcount(home.array) > _OWN_REFERENCES

    def expect_writes(self) -> None:
        """Take the host's values for the only ones if a view of them is alive."""
        if self._current and self._fresh and self.viewed:
            self._current = ()
            self.tell()

    # ---- for scripts

    def asked(self, *, on_gpu: bool = False) -> "SyncedArray":
        """This storage, after whoever wants to know of a script that gets at it."""
        if self.before_asked is not None:
            self.before_asked(self, on_gpu)
        return self

    def put(self, value: Any) -> None:
        """Write an array of the host or of the running device to the first elements."""
        self.asked()
        if isinstance(value, np.ndarray):
            np.copyto(self.host(value.size, "overwrite" if value.size == self._capacity else "update"), value.ravel())
        else:
            device.current().copy(value, self.array(value.size, "overwrite").reshape(value.shape))

    def copied(self, *, on_gpu: bool) -> Any:
        """A copy of all of it, on the host or on the running GPU, for `put`."""
        if not on_gpu:
            return self.read_host(self._capacity).copy()
        copy = device.current().zeros(self._capacity, self.dtype)
        device.current().copy(self.array(self._capacity), copy)
        return copy

    # ---- on the running device

    def array(self, count: int, access: Access = "read") -> Any:
        """The first `count` elements on the running device.

        "read" and "update" bring them up to date, after "update" and "overwrite" they are nowhere else.
        """
        running = device.current()
        trace: Trace | None = getattr(_local, "trace", None)
        if self.lent is not None and not (trace and isinstance(running, device.Cpu)):
            lender, first = self.lent
            return lender.array(first + count, "read" if access == "read" else "update")[first:]
        if isinstance(running, device.Cpu):
            if trace is None:
                return self.host(count, access)
            array = self.plain(count)
            self._wait()
        else:
            array = self.ready_on(running, count, access)
        if trace is not None:
            trace.note(self, count, access)
        return array

    def ready_on(self, gpu: device.Gpu, count: int, access: Access) -> Any:
        """The first `count` elements on that GPU."""
        self.reserve(count)
        home = self._gpu_home
        if home is None or home.gpu is not gpu:
            home = self._move_to(gpu, count)
        self.ready(home, access)
        return home.array[:count]

    def halves(self, count: int, number_format: Format) -> Any:
        """The first `count` elements on the running GPU, rounded, for reading only."""
        running = device.current()
        assert not isinstance(running, device.Cpu), "the CPU has none"
        array = self.halves_on(running, count, number_format)
        if (trace := getattr(_local, "trace", None)) is not None:
            trace.halves[self] = count, number_format
        return array

    def halves_on(self, gpu: device.Gpu, count: int, number_format: Format) -> Any:
        """The same on that GPU. They are made on the host, whose values stay those that count."""
        self.reserve(count)
        home = self._half_home
        if home is None or home.gpu is not gpu or home.number_format != number_format:
            self._current = tuple(known for known in self._current if known is not home)
            self._half_home = home = HalfHome(gpu, self._capacity, number_format)
            self.places += 1
        self.ready(home, "read")
        return home.array[:count]

    # ---- in any home

    @property
    def homes(self) -> tuple[Home, ...]:
        """Those away from the host where the values are up to date."""
        return self._current

    @property
    def fresh(self) -> bool:
        """Whether the host's values are up to date."""
        return self._fresh

    def ready(self, home: Home, access: Access) -> None:
        """Make `home`, of this storage, hold the values if they are needed, and alone if they are written."""
        if access != "overwrite" and home not in self._current:
            if not self._fresh and any(map(home.take, self._current)):
                pass
            elif self._current or self._host is not None:
                viewed = self.viewed
                home.upload(self.read_host(self._capacity))
                if viewed:  # a script may write to it as soon as the pass has been launched
                    self._wait()
            self._current = (*self._current, home)
            self.tell()
        if access != "read":
            self.left(False, (home,))

    def move(self, home: Receiver, watcher: Watcher) -> None:
        """Make `home` hold the values, and give the host's memory back if only `watcher` uses the storage.

        That is done once: who asks the host for the values afterwards may well do so again.
        """
        if self._host is None or self.moved or self._current or not (self._fresh and self._only(watcher)):
            self.ready(home, "read")
            return
        move, only = home.move(self._host), False
        with MOVING:
            try:
                self._fresh = False  # who asks from here on waits; who asked before is seen
                only = self._only(watcher)
                if only:
                    self.moved = True
                    move.run()
            finally:
                if only:
                    move.run()  # an interrupt must not leave some of the values here and some there
                    self._current = (home,)
                else:
                    self._fresh = True
        self.ready(home, "read")
        self.tell()

    def _only(self, watcher: Watcher) -> bool:
        """Whether the host's memory could be given back, and nobody but `watcher` uses it."""
        free = self._host is not None and pages.can_give_back(self._host) and not self.viewed
        return free and set(self._watchers or ()) <= {watcher}

    def left(self, fresh: bool, homes: tuple[Home, ...]) -> None:
        """A pass wrote the values: they are on the host if `fresh`, in these homes, and nowhere else."""
        self.moved = False
        if self._fresh != fresh or self._current != homes:
            self._fresh, self._current = fresh, homes
            self.tell()

    def watch(self, watcher: Watcher) -> None:
        """Add this storage to `watcher.touched` whenever a repeated pass would not find it as it was left."""
        if self._watchers is None:
            self._watchers = weakref.WeakSet()
        self._watchers.add(watcher)

    def tell(self, but: Watcher | None = None) -> None:
        """Let the watchers know, all `but` one."""
        for watcher in self._watchers or ():
            if watcher is not but:
                watcher.touched.add(self)

    def _wait(self) -> None:
        """Before the host's memory is written to."""
        if self._gpu_home is not None:
            self._gpu_home.wait()

    def reserve(self, count: int) -> None:
        """Have room for so many elements, taken when they are asked for."""
        if count > self._capacity or self.generation == 0:
            self._capacity = count
            self._host = self._gpu_home = self._half_home = None
            self._fresh, self._current, self.moved = True, (), False
            self.generation += 1
            self.places += 1
            self.tell()

    def _move_to(self, gpu: device.Gpu, count: int) -> GpuHome:
        if not self._fresh:
            self.read_host(self._capacity)
        self._current = ()
        self._gpu_home = home = GpuHome(gpu, self._gpu_zeros(gpu, count))
        self.places += 1
        self.tell()
        return home

    def _gpu_zeros(self, gpu: device.Gpu, count: int) -> Any:
        """Memory for the whole capacity, or if the GPU has no room for that, for what is asked for."""
        try:
            return gpu.zeros(self._capacity, self.dtype)
        except DeviceError:
            if count == self._capacity:
                raise
        array = gpu.zeros(count, self.dtype)
        self._capacity = count
        self._host = None if self._host is None else self._host[:count]
        return array


def viewed(storages: Iterable[SyncedArray]) -> set[SyncedArray]:
    """Those of which somebody holds a view of the host's memory; many are asked before every pass."""
    return {s for s in storages if s._host is not None and sys.getrefcount(s._host) > _OWN_REFERENCES}


class Trace:
    """Which storages a pass uses, and how: `with trace:` around it."""

    def __init__(self) -> None:
        self.used: dict[SyncedArray, tuple[int, Access]] = {}
        self.halves: dict[SyncedArray, tuple[int, Format]] = {}
        """Those of which rounded copies are read."""
        self.touched: set[SyncedArray] = set()
        """Those used that are no longer as the pass left them."""
        self._places: dict[SyncedArray, int] = {}

    def __enter__(self) -> None:
        _local.trace = self

    def __exit__(self, *error: object) -> None:
        _local.trace = None
        self.watch({**self.used, **self.halves})

    def watch(self, storages: Iterable[SyncedArray]) -> None:
        """Remember where their memory is, and hear of what becomes of them."""
        for storage in storages:
            self._places[storage] = storage.places
            storage.watch(self)

    def note(self, storage: SyncedArray, count: int, access: Access) -> None:
        """One use; the first says whether old values are needed, any whether new ones are written."""
        most, before = self.used.get(storage, (0, access))
        merged: Access = "update" if before == "read" and access != "read" else before
        self.used[storage] = max(most, count), merged

    def stands(self) -> bool:
        """Whether every storage's memory is still where it was."""
        return all(self._places[storage] == storage.places for storage in tuple(self.touched))

    def ready(self, gpu: device.Gpu) -> None:
        """Bring up to date what the pass reads on that GPU, mark what it writes, as the pass itself would."""
        touched, self.touched = self.touched, set()
        try:
            for storage in touched:
                if storage in self.used:
                    storage.ready_on(gpu, *self.used[storage])
                if storage in self.halves:
                    storage.halves_on(gpu, *self.halves[storage])
        except BaseException:
            self.touched |= touched
            raise
