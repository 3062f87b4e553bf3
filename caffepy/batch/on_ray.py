"""The engine for clusters: workers as actors under Ray Data, which streams shards to them and replaces them."""

import logging
import pickle
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from caffepy.batch.job import Done, Job, Shards
from caffepy.batch.manifest import Manifest
from caffepy.batch.worker import Worker
from caffepy.device.threads import set_threads
from caffepy.errors import CaffeError, DeviceError

log = logging.getLogger("caffepy")

PATIENCE = 60.0
"""Seconds without a finished shard after which it is said what the cluster lacks, if it lacks something."""


def import_ray() -> Any:
    """The modules ray and ray.data. Raises DeviceError, saying what to install, where they are not there."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise DeviceError(f"--ray needs the library ray ({error}); pip install caffepy[ray]") from error
    return ray


@contextmanager
def connected(address: str, jobs: Sequence[Job]) -> Iterator[None]:
    """A connection to the cluster at `address`, or for "local" one on this machine, where the jobs find a place.

    Raises DeviceError where it cannot be reached, or is too small for the workers.
    """
    ray = import_ray()
    own = not ray.is_initialized()
    if own:
        _check_reachable(address)
        try:
            ray.init(
                address=None if address == "local" else address,
                logging_level=logging.ERROR,
                **({"include_dashboard": False} if address == "local" else {}),
            )
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise DeviceError(
                f"Ray at {address!r} cannot be reached: {error}; start it by `ray start --head`, or give --ray local"
            ) from error
    try:
        if lacking := _lacking(ray.cluster_resources(), jobs):
            raise DeviceError(f"Ray at {address!r} is too small: {lacking}; give fewer --workers, or a larger cluster")
        yield
    finally:
        if own:
            ray.shutdown()


def _check_reachable(address: str) -> None:
    """Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), 10).close()
    except OSError as error:
        raise DeviceError(
            f"Ray at {address!r} cannot be reached: {error}; start it by `ray start --head`, or give --ray local"
        ) from error


def needs(jobs: Sequence[Job]) -> dict[str, float]:
    """What Ray is asked for all workers together."""
    gpus = sum(job.device != "cpu" for job in jobs)
    return {"CPU": float(sum(job.threads for job in jobs)), **({"GPU": float(gpus)} if gpus else {})}


def _lacking(there: dict[str, float], jobs: Sequence[Job]) -> str:
    lacking = [
        f"{len(jobs)} workers need {wanted:g} {name}s, and there are {there.get(name, 0):g}"
        for name, wanted in needs(jobs).items()
        if there.get(name, 0) < wanted
    ]
    return "; ".join(lacking)


def run(jobs: Sequence[Job], manifest: Manifest, shards: Shards) -> Iterator[list[Done]]:
    """Do the shards with as many actors as there are jobs, if the cluster has room, or fewer; gives what was finished.

    Raises what a worker raises.
    """
    ray = import_ray()
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    items = [{"number": number, "part": pickle.dumps(part)} for number, part in shards.waiting.items()]
    gpu = jobs[0].device != "cpu"
    answers = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        Actor,
        fn_constructor_args=(jobs[0], manifest),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=len(jobs)),
        num_cpus=jobs[0].threads,
        num_gpus=1 if gpu else None,
    )
    counts = {number: part.count for number, part in shards.waiting.items()}
    with _watched(ray, jobs) as heard:
        try:
            for row in answers.iter_rows():
                done: Done | CaffeError = pickle.loads(row["done"])
                heard()
                if isinstance(done, CaffeError):
                    raise done
                shards.pictures += counts[done.number]
                yield [done]
        except ray.exceptions.RayError as error:
            raise DeviceError(f"Ray gave up: {error}") from error


@contextmanager
def _watched(ray: Any, jobs: Sequence[Job]) -> Iterator[Any]:
    """Say what is lacking where nothing comes for a while: other jobs may hold what the workers wait for."""
    last, end = [time.monotonic()], threading.Event()

    def heard() -> None:
        last[0] = time.monotonic()

    def watch() -> None:
        while not end.wait(PATIENCE / 4):
            if time.monotonic() - last[0] > PATIENCE:
                free, wanted = ray.available_resources(), needs(jobs)
                said = ", ".join(f"{count:g} {name}s, {free.get(name, 0):g} free" for name, count in wanted.items())
                log.warning("no shard for %.0f seconds; the workers want %s", time.monotonic() - last[0], said)
                heard()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield heard
    finally:
        end.set()
        thread.join()


class Actor:
    """A worker under Ray Data."""

    def __init__(self, job: Job, manifest: Manifest) -> None:
        set_threads(job.threads)
        here = job if job.device == "cpu" else replace(job, device=0)  # the first of those that Ray lets it see
        self._worker, self._manifest = Worker(here), manifest

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Do a shard; an error is handed on as it is, for Ray would make another of it."""
        done: Done | CaffeError
        try:
            done = self._worker.run(int(batch["number"][0]), pickle.loads(batch["part"][0]))
            self._manifest.record(done)
        except CaffeError as error:
            done = error
        return {"done": [pickle.dumps(done)]}
