"""Whole data sets through a net, on all cores, GPUs or a cluster, and on from where it stopped: docs/batch.md.

caffepy.batch.run("deploy.prototxt", "net.caffemodel", "photos/", "features", Blobs(("fc7",)))
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypedDict, Unpack

from numpy.typing import ArrayLike

from caffepy.batch.estimate import Plan
from caffepy.batch.estimate import plan as _plan
from caffepy.batch.inputs import fixed_values
from caffepy.batch.job import Job
from caffepy.batch.progress import Summary
from caffepy.batch.runs import Resources
from caffepy.batch.runs import run as _run
from caffepy.batch.sinks import SINKS, open_sink
from caffepy.batch.sources import Source, open_source
from caffepy.batch.tasks import Blobs, Classify, Columns, Detect, Explain, Function, Task
from caffepy.errors import ArgumentError, nearest
from caffepy.limits import Limits

__all__ = [
    "SINKS",
    "Blobs",
    "Classify",
    "Columns",
    "Detect",
    "Explain",
    "Function",
    "Options",
    "Plan",
    "Source",
    "Summary",
    "Task",
    "open_source",
    "plan",
    "run",
]

PathLike = str | os.PathLike[str]


class Options(TypedDict, total=False):
    """What `run` and `plan` take by name; each has a default."""

    sink: str
    """ "parquet", which is the default, "npy", "lmdb" or "png"."""
    mean: str | None
    """ "104,117,123", the name of a file, or "none"; default: ImageNet's for three channels at scale 255."""
    scale: float
    """The value of white in the net's input; default: 255."""
    resize: bool
    """Whether pictures are resized to the net's input, or must have its size; default: True."""
    inputs: Mapping[str, ArrayLike]
    """Values of the net's further inputs, the same for every picture: {"im_info": (600, 800, 1)}."""
    limits: Limits | None
    """What the model may do beyond computing, see caffepy.limits; default: anything."""
    batch: int
    """Pictures in a pass; default: as many as gain something and fit into memory."""
    workers: int
    """How many; default: one for each GPU, or else for each core."""
    threads: int
    """Of each worker's passes on the CPU; default: the cores shared out."""
    gpus: Sequence[int]
    """Their numbers; default: none, but the CPU."""


def run(
    model: PathLike,
    weights: PathLike | None,
    source: PathLike | Source,
    out: PathLike,
    task: Task,
    *,
    shard: int = 0,
    ray: str | None = None,
    resume: bool = True,
    strict: bool = False,
    progress: bool | None = None,
    **options: Unpack[Options],
) -> Summary:
    """Do what `task` asks for every picture of `source`, and write a row for each into the folder `out`.

    task      Blobs, Classify, Detect, Explain (saliency), or Function: a function of the net and a batch
    shard     pictures of a shard, which is what a worker that ends costs; 0: 512, or fewer so that each worker has 32
    ray       a Ray cluster's address, or "local"; None: processes on this machine
    resume    go on with what is in `out`, which must be of the same model, weights, source and options
    strict    stop at a picture that cannot be read; else it goes to `out`/_errors.csv
    progress  a line on stderr; None: on a terminal
    options   sink, mean, scale, resize, inputs, limits, batch, workers, threads, gpus: see Options

    Raises CaffeError's before work begins: an empty source, a folder that holds something else, a net that cannot do
    it or does not fit, a library that is missing. A script must call this under `if __name__ == "__main__":` where
    workers are not forked, that is on GPUs, with several threads each, and elsewhere than on Linux.
    """
    job, resources = _settled(model, weights, task, out, options)
    return _run(
        replace(job, strict=strict),
        _opened(source),
        replace(resources, ray=ray),
        shard=shard,
        resume=resume,
        progress=progress,
    )


def plan(
    model: PathLike, weights: PathLike | None, source: PathLike | Source, task: Task, **options: Unpack[Options]
) -> Plan:
    """What `run` would cost: from the net, and a sample of 64 pictures. Nothing is kept."""
    job, resources = _settled(model, weights, task, os.curdir, options)
    return _plan(job, _opened(source), resources)


def _settled(
    model: PathLike, weights: PathLike | None, task: Task, out: PathLike, options: Options
) -> tuple[Job, Resources]:
    """What is to be done, and with what. Raises ArgumentError for options that cannot be."""
    for name in options.keys() - Options.__annotations__.keys():
        raise ArgumentError(f"there is no option {name!r}{nearest(name, Options.__annotations__)}")
    batch, workers, threads = options.get("batch", 0), options.get("workers", 0), options.get("threads", 0)
    if batch < 0:
        raise ArgumentError(f"batch={batch}; give at least 1, or 0 for as many as fit")
    if workers < 0 or threads < 0:
        raise ArgumentError(
            f"workers={workers}, threads={threads}; give at least 1, or 0 for as the cores and GPUs are"
        )
    job = Job(
        os.fspath(model),
        None if weights is None else os.fspath(weights),
        task,
        open_sink(options.get("sink", "parquet"), out),
        options.get("mean"),
        options.get("scale", 255.0),
        options.get("resize", True),
        fixed_values(options.get("inputs", {})),
        batch=batch,
        limits=options.get("limits") or Limits(),
    )
    return job, Resources(workers, threads, tuple(options.get("gpus", ())))


def _opened(source: PathLike | Source) -> Source:
    return open_source(source) if isinstance(source, str | os.PathLike) else source
