"""What a run would cost, from the net, the source and a sample."""

from contextlib import closing
from dataclasses import dataclass
from typing import Any

from caffepy.batch.job import Job
from caffepy.batch.progress import shares
from caffepy.batch.runs import SAMPLE, Resources, prepared, sample
from caffepy.batch.sources import Source
from caffepy.device import threads


@dataclass(frozen=True)
class Plan:
    """The work, and how long it takes if workers do not hinder one another."""

    source: str
    pictures: int
    bytes: int
    """To be read."""
    gflop: float
    """Of a picture's forward pass: two for each multiplication with an addition."""
    batch: int
    memory: int
    """Bytes of a worker's forward pass, weights included."""
    sample: int
    seconds: float
    """Of a picture, in one worker."""
    shares: dict[str, float]
    unreadable: int
    """Of the sample."""
    workers: int

    def hours(self, workers: int) -> float:
        """Of the whole, for so many workers."""
        return self.pictures * self.seconds / workers / 3600

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        counts = sorted({1, 2, 4, 8, self.workers})
        return {
            "source": self.source,
            "pictures": self.pictures,
            "bytes": self.bytes,
            "gflop_per_picture": round(self.gflop, 4),
            "gflop": round(self.gflop * self.pictures, 1),
            "batch": self.batch,
            "bytes_per_worker": self.memory,
            "sample": self.sample,
            "unreadable_in_sample": self.unreadable,
            "milliseconds_per_picture": round(1e3 * self.seconds, 3),
            "shares": {name: round(share, 4) for name, share in self.shares.items()},
            "workers": self.workers,
            "seconds": {str(count): round(3600 * self.hours(count), 1) for count in counts},
        }


def plan(job: Job, source: Source, resources: Resources) -> Plan:
    """Measure a sample, and write nothing. Raises as a run before it begins."""
    jobs = resources.jobs(job)
    with threads.using_threads(jobs[0].threads), closing(prepared(jobs[0], source, len(jobs))) as worker:
        done = sample(worker, source, SAMPLE)
        macs = worker.net.table().totals["macs"]
        return Plan(
            source.name,
            source.count,
            source.bytes,
            2e-9 * macs / worker.batch,
            worker.batch,
            worker.net.execution.budget.total,
            done.pictures,
            done.seconds.total / done.pictures,
            shares([done.seconds]),
            len(done.errors),
            len(jobs),
        )
