"""A run from its beginning to its end: what is there, what is missing, who does it."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace

from caffepy.batch import manifest as manifests
from caffepy.batch import on_ray, processes
from caffepy.batch.job import Done, Job, Shards
from caffepy.batch.manifest import Manifest
from caffepy.batch.progress import Bar, Summary
from caffepy.batch.sinks import open_sink
from caffepy.batch.sources import Source
from caffepy.batch.worker import Worker
from caffepy.device import threads
from caffepy.errors import CaffeError, DataError, StateError

SAMPLE = 64
"""Pictures that are looked at before work begins."""
_SHARD, _EACH, _BATCHES = 512, 32, 2
"""Pictures of a shard, or as few as give each worker so many shards; in full batches, of which there are at least two:
while one is computed, the next is decoded."""


@dataclass(frozen=True)
class Resources:
    """What a run may use: processes on this machine, or actors on Ray's.

    workers   how many; 0: one for each GPU, or for each core
    threads   of each worker's passes on the CPU; 0: the cores shared out
    gpus      their numbers; none: the CPU
    ray       the address of a cluster, or "local"; None: processes
    """

    workers: int = 0
    threads: int = 0
    gpus: tuple[int, ...] = ()
    ray: str | None = None

    def jobs(self, job: Job) -> list[Job]:
        """The job of each worker: on which GPU, or on how many cores."""
        cores = threads.cores()
        count = self.workers or len(self.gpus) or cores
        each = max(1, cores // count)
        if self.gpus:
            return [replace(job, device=self.gpus[i % len(self.gpus)], decoders=each) for i in range(count)]
        own = self.threads or each
        return [replace(job, threads=own, decoders=own)] * count


def run(
    job: Job,
    source: Source,
    resources: Resources,
    *,
    shard: int = 0,
    resume: bool = True,
    progress: bool | None = None,
) -> Summary:
    """Do what the job says for all pictures of the source that are not yet done.

    shard      pictures of a shard, rounded up to full batches; 0: 512, or fewer so that each worker has 32 shards
    resume     go on with results that are there; else they are an error
    progress   a line on stderr; None: on a terminal

    Raises StateError where the folder holds something else, DataError where no picture can be read, and what Worker,
    the sink and the engine raise.
    """
    identity = {**job.identity(), "source": source.digest}
    known = manifests.found_in(job.sink.folder)
    if known is not None:
        manifests.check_same(known, identity)
        if not resume:
            raise StateError(f"{job.sink.folder!r} holds results; remove it, or give --resume to go on with them")
        job = replace(job, batch=known.batch)
    before = {} if known is None else known.done()
    jobs = resources.jobs(job)
    summary = Summary(job.sink.folder, source.count, before=[*before.values()], workers=len(jobs))
    summary.engine, summary.device = "processes" if resources.ray is None else "ray", str(jobs[0].device)
    found = known
    if known is None or _missing(source, known.shard, before).waiting:
        with ExitStack() as stack:
            if resources.ray is not None:
                stack.enter_context(on_ray.connected(resources.ray, jobs))
            stack.enter_context(threads.using_threads(jobs[0].threads))
            worker = stack.enter_context(prepared(jobs[0], source, len(jobs)))
            found = known or _begun(
                job.sink.folder, identity, worker.batch, shard or _shard_of(source.count, len(jobs), worker.batch)
            )
            jobs = [replace(each, batch=worker.batch) for each in jobs]
            _work(jobs, found, _missing(source, found.shard, before), worker, summary, progress)
    assert found is not None
    summary.batch = found.batch
    all_done = [*summary.before, *summary.done]
    job.sink.finish(sorted(shard.number for shard in all_done))
    if summary.done or not found.finished:
        found.finish(all_done, summary.as_dict())
    return summary


def prepared(job: Job, source: Source, workers: int) -> Worker:
    """A worker that has passed a batch, written to a folder that is gone again; so all it uses is loaded.

    Raises what Worker and the sink raise; DataError where no picture of the sample can be read, or without resizing,
    where one does not fit.
    """
    worker = Worker(job)
    try:
        if not job.resize:
            _check_sizes(worker, source)
        if not job.batch:
            worker.fit(workers, source.count)
        done = sample(worker, source, worker.batch)
        if not done.rows:
            index, key, reason = done.errors[0]
            raise DataError(
                f"none of the first {len(done.errors)} pictures can be read; number {index}, {key}: {reason}"
            )
    except BaseException:
        worker.close()
        raise
    return worker


def sample(worker: Worker, source: Source, count: int) -> Done:
    """Do the first `count` pictures, and keep nothing of it."""
    with tempfile.TemporaryDirectory(prefix="caffepy-batch-") as folder:
        return worker.run(0, source.part(0, count), open_sink(worker.job.sink.kind, folder))


def _check_sizes(worker: Worker, source: Source) -> None:
    wanted, found = worker.preparation.shape, set()
    for item in source.part(0, SAMPLE).items(worker.preparation.color):
        try:
            found.add(item.read()[0].shape)
        except CaffeError:
            continue  # its turn comes
    if found - {wanted}:
        sizes = ", ".join("x".join(map(str, shape)) for shape in sorted(found))
        raise DataError(
            f"{source.name}: without resizing all pictures must be {'x'.join(map(str, wanted))}, the net's input; "
            f"among the first {SAMPLE} are {sizes}"
        )


def _shard_of(pictures: int, workers: int, batch: int) -> int:
    """At the end, workers wait for the last one's shard: that is to be a small part of a small run."""
    return max(_BATCHES, min(_SHARD, pictures // (_EACH * workers)) // batch) * batch


def _begun(folder: str, identity: dict[str, object], batch: int, shard: int) -> Manifest:
    manifest = Manifest(folder, identity, batch, -(-shard // batch) * batch)
    manifests.begin(manifest)
    return manifest


def _missing(source: Source, shard: int, before: dict[int, Done]) -> Shards:
    numbers = range(-(-source.count // shard))
    return Shards({i: source.part(i * shard, shard) for i in numbers if i not in before})


def _work(
    jobs: list[Job], manifest: Manifest, shards: Shards, worker: Worker, summary: Summary, progress: bool | None
) -> None:
    """Let an engine do the shards, and say how far it is."""
    start = time.perf_counter()
    bar = Bar(summary.pictures, sum(shard.pictures for shard in summary.before), shown=progress)
    forked = jobs[0].threads == 1 and jobs[0].device == "cpu" and processes.forks()
    if summary.engine == "ray" or not forked:
        worker.close()
    engine: Iterator[list[Done]]
    if summary.engine == "ray":
        engine = on_ray.run(jobs, manifest, shards)
    else:
        engine = processes.run(jobs, manifest, shards, worker if forked else None)
    with closing(bar), closing(engine):  # type: ignore[type-var]
        for finished in engine:
            summary.done += finished
            bar.update(shards.pictures, finished, shards.deaths)
    summary.seconds, summary.deaths = time.perf_counter() - start, shards.deaths
