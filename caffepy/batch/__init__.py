"""Whole data sets through a net, on all cores, GPUs or a cluster, and on from where it stopped: docs/batch.md.

caffepy.batch.run("deploy.prototxt", "net.caffemodel", "photos/", "features", Blobs(("fc7",)))
"""

import os
from collections.abc import Sequence

from caffepy.batch.job import Job
from caffepy.batch.plan import Plan
from caffepy.batch.plan import plan as _plan
from caffepy.batch.progress import Summary
from caffepy.batch.runs import Resources
from caffepy.batch.runs import run as _run
from caffepy.batch.sinks import SINKS, open_sink
from caffepy.batch.sources import Source, open_source
from caffepy.batch.tasks import Blobs, Classify, Columns, Detect, Explain, Function, Task
from caffepy.errors import ArgumentError
from caffepy.limits import Limits

__all__ = [
    "SINKS",
    "Blobs",
    "Classify",
    "Columns",
    "Detect",
    "Explain",
    "Function",
    "Plan",
    "Source",
    "Summary",
    "Task",
    "open_source",
    "plan",
    "run",
]

PathLike = str | os.PathLike[str]


def run(
    model: PathLike,
    weights: PathLike | None,
    source: PathLike | Source,
    out: PathLike,
    task: Task,
    *,
    sink: str = "parquet",
    mean: str | None = None,
    scale: float = 255.0,
    resize: bool = True,
    limits: Limits | None = None,
    batch: int = 0,
    shard: int = 0,
    workers: int = 0,
    threads: int = 0,
    gpus: Sequence[int] = (),
    ray: str | None = None,
    resume: bool = True,
    strict: bool = False,
    progress: bool | None = None,
) -> Summary:
    """Do what `task` asks for every picture of `source`, and write a row for each into the folder `out`.

    task      Blobs, Classify, Detect, Explain (saliency), or Function: a function of the net and a batch
    sink      "parquet", "npy", "lmdb" or "png"
    mean      "104,117,123", the name of a file, or "none"; default: ImageNet's for three channels at scale 255
    scale     the value of white in the net's input
    resize    whether pictures are resized to the net's input, or must have its size
    limits    what the model may do beyond computing, see caffepy.limits; default: anything
    batch     pictures in a pass; 0: as many as gain something and fit into memory
    shard     pictures of a shard, which is what a worker that ends costs; 0: 512
    workers   how many; 0: one for each GPU, or else for each core
    threads   of each worker's passes on the CPU; 0: the cores shared out
    gpus      their numbers; none: the CPU
    ray       a Ray cluster's address, or "local"; None: processes on this machine
    resume    go on with what is in `out`, which must be of the same model, weights, source and options
    strict    stop at a picture that cannot be read; else it goes to `out`/_errors.csv
    progress  a line on stderr; None: on a terminal

    Raises CaffeError's before work begins: an empty source, a folder that holds something else, a net that cannot do
    it or does not fit, a library that is missing. A script that calls this on GPUs must do so under
    `if __name__ == "__main__":`.
    """
    job = _job(model, weights, task, out, sink, mean, scale, resize, limits, batch, strict)
    resources = _resources(workers, threads, gpus, ray)
    return _run(job, _opened(source), resources, shard=shard, resume=resume, progress=progress)


def plan(
    model: PathLike,
    weights: PathLike | None,
    source: PathLike | Source,
    task: Task,
    *,
    sink: str = "parquet",
    mean: str | None = None,
    scale: float = 255.0,
    resize: bool = True,
    limits: Limits | None = None,
    batch: int = 0,
    workers: int = 0,
    threads: int = 0,
    gpus: Sequence[int] = (),
) -> Plan:
    """What `run` would cost: from the net, and a sample of 64 pictures. Nothing is kept."""
    job = _job(model, weights, task, os.curdir, sink, mean, scale, resize, limits, batch, False)
    return _plan(job, _opened(source), _resources(workers, threads, gpus, None))


def _job(
    model: PathLike,
    weights: PathLike | None,
    task: Task,
    out: PathLike,
    sink: str,
    mean: str | None,
    scale: float,
    resize: bool,
    limits: Limits | None,
    batch: int,
    strict: bool,
) -> Job:
    if batch < 0:
        raise ArgumentError(f"batch={batch}; give at least 1, or 0 for as many as fit")
    where = None if weights is None else os.fspath(weights)
    return Job(
        os.fspath(model),
        where,
        task,
        open_sink(sink, out),
        mean,
        scale,
        resize,
        batch=batch,
        limits=limits or Limits(),
        strict=strict,
    )


def _resources(workers: int, threads: int, gpus: Sequence[int], ray: str | None) -> Resources:
    if workers < 0 or threads < 0:
        raise ArgumentError(
            f"workers={workers}, threads={threads}; give at least 1, or 0 for as the cores and GPUs are"
        )
    return Resources(workers, threads, tuple(gpus), ray)


def _opened(source: PathLike | Source) -> Source:
    return open_source(source) if isinstance(source, str | os.PathLike) else source
