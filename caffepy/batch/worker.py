"""One net, and what it does with parts of a source; the same on every engine."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Self

import numpy as np

from caffepy.batch import inputs
from caffepy.batch.job import Done, Job, Seconds
from caffepy.batch.prepare import Preparation, preparation
from caffepy.batch.sinks import Row, Sink
from caffepy.batch.sources import Item, Part
from caffepy.batch.tasks import Columns
from caffepy.blob import Floats
from caffepy.errors import CaffeError, DataError, DeviceError, LayerError, StateError
from caffepy.limits import memory_left
from caffepy.proto.caffe_pb2 import TEST
from caffepy.pycaffe import Net

MOST_ON_CPU, MOST_ON_GPU = 16, 256
"""Pictures in a pass: more gain nothing."""


class Stopped(StateError):
    """The run is to end before the shard has."""


class Worker:
    """Opens a job's net. Raises what Net raises, and ArgumentError where the net cannot do what is asked."""

    def __init__(self, job: Job) -> None:
        self.job = job
        keep = job.task.keep
        self.net = Net(
            job.model,
            TEST,
            weights=job.weights,
            device=job.device,
            limits=job.limits,
            memory="full" if keep is None else "inference",
            keep=keep or (),
        )
        try:
            self._input = inputs.of_pictures(self.net, job.inputs)
            blob = self.net.blob(self._input)
            self.preparation: Preparation = preparation(blob.shape, job.mean, job.scale, resized=job.resize)
            self.net.preprocess = self.preparation.preprocess()
            job.task.check(self.net)
            self._last = job.task.last_layer(self.net)
        except BaseException:
            self.net.close()
            raise
        self.batch = 0
        self._checked = False
        if job.batch:
            self.resize(job.batch)

    def before_fork(self) -> None:
        """Give scratch memory back, which this process needs no more, and which each forked one would copy."""
        self.net.execution.replay.on_cpu.arena.renew()

    # ---- how many at once

    def resize(self, batch: int) -> None:
        """Take so many pictures in a pass. Raises DeviceError or LayerError where they do not fit into memory."""
        self.batch = batch
        inputs.fill(self.net, self.job.inputs, self._input, batch)
        self.net.blob(self._input).reshape(batch, *self.preparation.shape)
        self.net.reshape()

    def fit(self, workers: int, pictures: int) -> int:
        """As many as gain something, are there and fit into memory, if there are so many workers on this device."""
        batch = min(pictures, MOST_ON_CPU if self.job.device == "cpu" else MOST_ON_GPU)
        while True:
            try:
                self.resize(batch)
                self._forward(np.zeros((batch, *self.preparation.shape), np.float32))
                if self.net.execution.budget.total * (workers - 1) <= memory_left() or batch == 1:
                    return batch
            except (DeviceError, LayerError):
                if batch == 1:
                    raise
            batch //= 2

    # ---- a shard

    def run(
        self,
        number: int,
        part: Part,
        sink: Sink | None = None,
        *,
        tell: Callable[[int], object] = lambda pictures: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Done:
        """Do what is asked for the part's pictures, and write the shard of that number.

        tell      is given how many pictures were done, batch by batch
        stopped   tells whether to give up, which raises Stopped

        Raises DataError for a picture that cannot be read, if the job is strict, and what the sink raises.
        """
        seconds, start = Seconds(), time.perf_counter()
        errors: list[tuple[int, str, str]] = []
        rows = 0
        with (sink or self.job.sink).shard(number) as add, self._batches(part, errors, seconds) as batches:
            for found, data in batches:
                if stopped():
                    raise Stopped("the run was stopped")
                with _timed(seconds, "net"):
                    columns = self.columns(data)
                if not self._checked:
                    self.job.sink.check(columns)
                    self._checked = True
                with _timed(seconds, "write"):
                    add(found, columns)
                rows += len(found)
                tell(len(found))
            end = time.perf_counter()
        now = time.perf_counter()
        seconds.write += now - end
        seconds.total = now - start
        tell(len(errors))
        return Done(number, rows, errors, seconds)

    def columns(self, data: Floats) -> Columns:
        """What is asked for, for a batch of inputs (n, channels, height, width), n at most `batch`."""
        if not self.job.task.own_passes:
            self._forward(data)
        return self.job.task.columns(self.net, data)

    def _forward(self, data: Floats) -> None:
        """Rows behind a short batch keep what they held: rows do not depend on one another."""
        blob = self.net.blob(self._input)
        blob.data[: len(data)] = data
        self.net.forward_from_to(0, self._last)

    @contextmanager
    def _batches(
        self, part: Part, errors: list[tuple[int, str, str]], seconds: Seconds
    ) -> Iterator[Iterator[tuple[list[Row], Floats]]]:
        """Rows and inputs in full batches, the last one perhaps short, read beside the passes."""
        with ThreadPoolExecutor(self.job.decoders, "caffepy-batch") as pool:
            try:
                yield self._filled(part, pool, errors, seconds)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _filled(
        self, part: Part, pool: ThreadPoolExecutor, errors: list[tuple[int, str, str]], seconds: Seconds
    ) -> Iterator[tuple[list[Row], Floats]]:
        rows: list[Row] = []
        data = np.empty((self.batch, *self.preparation.shape), np.float32)
        for index, item, future in self._ahead(part, pool):
            with _timed(seconds, "decode"):
                value, label, error, took = future.result()
            seconds.reading += took
            if value is None:
                if self.job.strict:
                    raise DataError(f"picture {index} ({item.key}): {error}")
                errors.append((index, item.key, error))
                continue
            data[len(rows)] = value
            rows.append(Row(index, item.key, label))
            if len(rows) == self.batch:
                yield rows, data
                rows = []
        if rows:
            yield rows, data[: len(rows)]

    def _ahead(self, part: Part, pool: ThreadPoolExecutor) -> Iterator[tuple[int, Item, "Future[_Read]"]]:
        """The items, up to a batch and a half of them being read while one is looked at."""
        waiting: deque[tuple[int, Item, Future[_Read]]] = deque()
        for index, item in enumerate(part.items(self.preparation.color), part.first):
            waiting.append((index, item, pool.submit(self._read, item)))
            if len(waiting) > self.batch + self.batch // 2 + self.job.decoders:
                yield waiting.popleft()
        yield from waiting

    def _read(self, item: Item) -> "_Read":
        start = time.thread_time()
        try:
            values, label = item.read()
            return self.preparation.apply(values), label, "", time.thread_time() - start
        except CaffeError as error:
            return None, None, str(error), time.thread_time() - start

    # ---- life

    def close(self) -> None:
        """Give the net's memory back."""
        self.net.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


_Read = tuple[Floats | None, int | None, str, float]
"""A picture as the net takes it or none, its label, why there is none, and CPU seconds."""


@contextmanager
def _timed(seconds: Seconds, what: str) -> Iterator[None]:
    start = time.perf_counter()
    try:
        yield
    finally:
        setattr(seconds, what, getattr(seconds, what) + time.perf_counter() - start)
