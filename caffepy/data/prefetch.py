"""Batches made ahead on a thread."""

import atexit
import threading
import weakref
from collections.abc import Iterator
from contextvars import copy_context
from queue import SimpleQueue
from time import perf_counter
from typing import ClassVar

from caffepy.blob import Floats
from caffepy.data.batch_maker import Batch, BatchMaker
from caffepy.data.sources import Source
from caffepy.data.transform import DataTransformer
from caffepy.errors import CaffeError, StateError


class _Ahead:
    """The thread, and what it shares with its owner; it knows nothing else, so that it keeps no owner alive.

    Garbage is collected on whichever thread happens to run, so that an owner's end must neither wait nor lock: it only
    puts a word into a queue, which SimpleQueue allows at any moment.
    """

    running: ClassVar["set[_Ahead]"] = set()

    def __init__(self, maker: BatchMaker, depth: int) -> None:
        self.maker = maker
        self.wanted: SimpleQueue[Batch | None] = SimpleQueue()
        """Orders for a batch, each with memory that may be used or with None."""
        self.ready: SimpleQueue[Batch | BaseException] = SimpleQueue()
        self.stopped = False
        self.thread = threading.Thread(
            target=copy_context().run, args=(self._run,), name="caffepy-prefetch", daemon=True
        )
        self.started = False
        for _ in range(depth):
            self.wanted.put(None)

    def start(self) -> None:
        if not self.started and not self.stopped:
            self.started = True
            self.running.add(self)
            self.thread.start()

    def stop(self) -> None:
        self.stopped = True
        self.wanted.put(None)
        if not self.started:
            self._end(StateError("the data's source was closed; build the net anew"))

    def _run(self) -> None:
        end: BaseException = StateError("the data's source was closed; build the net anew")
        try:
            while True:
                spare = self.wanted.get()
                if self.stopped:
                    break
                self.ready.put(self.maker.make(spare))
        except BaseException as error:
            end = error
        finally:
            self._end(end)

    def _end(self, reason: BaseException) -> None:
        self.ready.put(reason)
        self.running.discard(self)
        self.maker.source.close()


@atexit.register
def _end_all() -> None:
    """Let no thread be inside a library when the interpreter goes."""
    for ahead in tuple(_Ahead.running):
        ahead.stop()
        ahead.thread.join()


class Prefetcher:
    """Batches made ahead on a thread, which starts with the first call of `take` and ends with this object.

    depth   how many batches it runs ahead
    """

    def __init__(self, maker: BatchMaker, depth: int = 4) -> None:
        self.maker = maker
        self.waited = 0.0
        """Seconds that `take` has waited."""
        self._ahead = _Ahead(maker, max(1, depth))
        self._end = weakref.finalize(self, self._ahead.stop)
        self._end.atexit = False
        self._error: BaseException | None = None

    def take(self) -> Batch:
        """The next batch, to be given back. Raises what the thread met, again at every further call."""
        start, ahead = perf_counter(), self._ahead
        ahead.start()
        if ahead.started and ahead.ready.empty() and not ahead.thread.is_alive() and self._error is None:
            raise StateError("the data's thread is not in this process, which was forked; build the net in this one")
        found = self._error or ahead.ready.get()
        self.waited += perf_counter() - start
        if isinstance(found, Batch):
            return found
        self._error = found
        if isinstance(found, CaffeError):  # anew, or every call would lengthen its traceback
            raise type(found)(str(found)) from found
        raise found

    def give_back(self, batch: Batch | None) -> None:
        """Order another batch, in this one's memory if that is not kept."""
        self._ahead.wanted.put(batch)

    def close(self) -> None:
        """Stop the thread, wait for it, close the source."""
        self._end()
        if self._ahead.started:
            self._ahead.thread.join()


def batches(
    source: Source,
    batch_size: int,
    transformer: DataTransformer | None = None,
    *,
    depth: int = 4,
    skip_bad: bool = False,
) -> Iterator[tuple[Floats, Floats]]:
    """Data (batch_size, channels, height, width) and labels (batch_size), without end, made ahead on a thread.

    The arrays are the caller's to keep. The thread ends when the generator is closed or dropped.
    """
    prefetcher = Prefetcher(BatchMaker(source, transformer or DataTransformer(), batch_size, skip_bad=skip_bad), depth)
    while True:
        batch = prefetcher.take()
        prefetcher.give_back(None)
        yield batch.data, batch.labels
