"""A captured pass: calls bound to memory, what it wants to find where, and what it leaves where."""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from caffepy.blob.storage import SyncedArray, viewed
from caffepy.cpu.arena import Arena
from caffepy.cpu.build import Bound
from caffepy.cpu.homes import Computed, Packed, Shared
from caffepy.cpu.record import Recorder
from caffepy.device.onednn.handles import Call, library
from caffepy.device.onednn.product import Product

SUMS = {"convolution_backward_weights", "inner_product_backward_weights", "sgemm"}


class CapturedPass:
    """What `body` does, to be repeated by `run` as long as it is `valid`, and wherever it `fits`.

    wanted    storages whose values have to be computed although nothing in the pass reads them
    arena     gives memory to what the pass does not leave behind
    keeps     whether a backward pass may want what this one knows
    threads   how many its primitives are made for
    """

    def __init__(
        self,
        body: Callable[[], object],
        wanted: set[SyncedArray],
        arena: Arena,
        *,
        keeps: bool = True,
        threads: int,
    ) -> None:
        self.threads = threads
        with library().using(threads):
            self._capture(body, wanted, keeps)
        arena.add(self._placed)

    def _capture(self, body: Callable[[], object], wanted: set[SyncedArray], keeps: bool) -> None:
        from caffepy.cpu.translations import translate  # here, for not every process runs a pass on oneDNN

        self._recorder = Recorder(body)
        while self._recorder.moved:
            self._recorder = Recorder(body)
        builder = translate(self._recorder, wanted, keeps=keeps)
        self.names, self.declined = builder.names, builder.declined
        self._calls, self._placed = builder.finished()
        self.primitives = {call.name for call in self._calls if isinstance(call, Call | Product)}
        """Those of the names that are oneDNN's."""
        self.wide = [call.name for call in self._calls if isinstance(call, Call | Product) and call.threads > 1]
        """Those of the names that more than one thread does."""
        self._runs = list(_runs(self._calls, self.threads))
        self._needs = {storage: value.needs for storage, value in builder.values.items() if value.needs}
        self._leaves = {storage: value.left for storage, value in builder.values.items() if value.written}
        self._movable = {
            storage: homes[0]
            for storage, homes in self._needs.items()
            if len(homes) == 1 and type(homes[0]) is Packed and not (storage.lent or storage in self._leaves)
        }
        """What it reads packed only, so that the host may forget it."""
        self._preparations = builder.preparations
        self._sources = {source for preparation in self._preparations for source in preparation.sources}
        for source in self._sources:
            source.derived = True
        prepared = {result for preparation in self._preparations for result in preparation.results}
        self._rewrites = [storage for storage in self._leaves if not builder.values[storage].prepared]
        """What every run writes; what was prepared is written only when what it is made of was."""
        self._prepared = self._sources | prepared
        self._outdates = {s for s in self._leaves if s in self._sources and s not in prepared}
        """Sources that the pass itself writes, after it used what was made of them."""
        self._particular = {
            (storage, home)
            for storage, homes in self._needs.items()
            for home in homes
            if isinstance(home, Computed | Shared)
        }
        self._touched = set(self._recorder.used)
        self._recorder.operations.clear()  # their arrays would count as views of the storages
        self._left_out = {
            storage: home
            for storage, (_, homes) in self._leaves.items()
            for home in homes
            if isinstance(home, Computed) and home.own is None
        }

    @property
    def missed(self) -> set[SyncedArray]:
        """What the pass left out and somebody wanted."""
        return {storage for storage, home in self._left_out.items() if home.missed}

    @property
    def particular(self) -> int:
        """How much of what it needs only certain other passes leave."""
        return len(self._particular)

    @property
    def sums_by_threads(self) -> bool:
        """Whether the number of threads decides in which order something is added up: over a batch, for weights."""
        return not SUMS.isdisjoint(self.names)

    def valid(self) -> bool:
        """Whether memory is where it was, and nobody wants what it leaves out."""
        return self._recorder.stands() and not self.missed

    def fits(self) -> bool:
        """Whether what only certain other passes leave is there."""
        for storage, _ in self._particular:
            storage.expect_writes()
        return all(home in storage.homes for storage, home in self._particular)

    def run(self) -> None:
        """Do it."""
        with library().using(self.threads), np.errstate(all="ignore"):
            self._ready()
            for run in self._runs:
                if status := run():
                    library().check(status)  # type: ignore[arg-type]
        for storage in self._rewrites:
            if storage.derived:
                storage.tell(but=None if storage in self._outdates else self._recorder)
        for storage in self._leaves:
            if not storage.fresh and storage.viewed:
                storage.read_host(0)

    def _ready(self) -> None:
        """Bring up to date what the pass reads, mark what it writes."""
        for storage in self._needs:
            storage.expect_writes()
        dirty = viewed(self._sources)
        touched = self._touched | self._recorder.touched
        self._touched, self._recorder.touched = set(), set()
        for storage in touched & self._movable.keys():
            storage.move(self._movable[storage], self._recorder)
        for storage in touched & self._needs.keys():
            for home in self._needs[storage]:
                if home is None:
                    storage.read_host(0)
                else:
                    storage.ready(home, "read")
        for storage in touched & self._leaves.keys():
            storage.left(*self._leaves[storage])
        dirty |= touched & self._prepared
        if dirty:
            self._prepare(dirty)

    def _prepare(self, dirty: set[SyncedArray]) -> None:
        """Make anew what is made of these, and of what is then made."""
        for preparation in self._preparations:
            if not dirty.isdisjoint(itertools.chain(preparation.sources, preparation.results)):
                preparation.run()
                dirty.update(preparation.results)
                for result in preparation.results:
                    if result.derived:
                        result.tell(but=self._recorder)


def _runs(calls: Sequence[Bound], threads: int) -> Iterator[Callable[[], object]]:
    """What runs them in turn, each with its number of threads, beginning with that of the pass."""
    now = threads
    for call in calls:
        if isinstance(call, Call | Product):
            if call.threads != now:
                now = call.threads
                yield functools.partial(library().use_threads, now)
            yield call.run
        else:
            yield call
