"""A worker by itself: what it holds at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from caffepy import batch
from caffepy.batch.job import Job
from caffepy.batch.sinks import open_sink
from caffepy.batch.sources import Item
from caffepy.batch.worker import Worker
from tests.cli import models


@dataclass
class Counted:
    """A part of a source that knows how many of its pictures were given out."""

    count: int
    first: int = 0
    given: int = 0

    def items(self, color: bool | None) -> Iterator[Item]:
        for i in range(self.count):
            self.given += 1
            yield Item(f"{i}", lambda: (np.zeros((3, 12, 10), np.uint8), None))


@pytest.mark.parametrize("decoders", [1, 3])
@pytest.mark.parametrize("count", [40, 400])
def test_what_waits_does_not_grow_with_the_pictures(decoders, count, tmp_path):
    """However fast they are read: two and a half batches at most, and one for each thread, are not yet done."""
    paths = models.write(tmp_path)
    part, done, most = Counted(count), 0, 0
    sink = open_sink("npy", tmp_path)
    job = Job(paths["model"], paths["weights"], batch.Blobs(("fc",)), sink, batch=4, decoders=decoders)
    with Worker(job) as worker:
        columns = worker.columns

        def counted(data):
            nonlocal most
            most = max(most, part.given - done)
            return columns(data)

        def tell(pictures):
            nonlocal done
            done += pictures

        worker.columns = counted
        result = worker.run(0, part, tell=tell)
    assert result.rows == count
    assert 4 < most <= 2.5 * 4 + decoders + 1
