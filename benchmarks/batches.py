"""`python -m benchmarks.batches`: what a batch run takes beyond its net's bare passes, and what a second worker gives.

GoogLeNet of random weights at batch 16, on the CPU, in turn: bare passes on one thread and on all; runs with one worker
of one thread, confined to one core and not (its pictures are decoded on another core then), with one for each core, and
with one whose passes use all cores. Each in a process of its own, so that none finds another's memory. Rates are of the
wall clock, starts of workers included; CPU time a picture is the workers', which other processes on the machine disturb
less. Memory is measured in runs of their own: looking at it takes a core's time.
"""

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
from PIL import Image

from caffepy import TEST, Net, batch
from caffepy.cli.model import fill_at_random
from caffepy.device.threads import cores, using_threads
from caffepy.zoo.nets import googlenet

BATCH = 16
Figures = dict[str, float]


def main() -> None:
    """Print JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batches", description=__doc__)
    parser.add_argument("--pictures", type=int, default=256)
    parser.add_argument("--size", default="256x256", help="WIDTHxHEIGHT of the pictures")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--what", choices=_WHAT, default="times", help="of which figures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="caffepy-batches-") as folder:
        model, weights = _model(Path(folder))
        width, height = map(int, options.size.split("x"))
        _pictures(Path(folder) / "pictures", options.pictures, width, height)
        found = _WHAT[options.what](Path(folder), model, weights, options)
        print(json.dumps({"pictures": options.pictures, "size": options.size, **found}, indent=2))


def times(folder: Path, model: str, weights: str, options: argparse.Namespace) -> dict[str, object]:
    """The median of the rounds for each way, and what follows from them."""
    most, all_ = cores(), options.pictures
    run = partial(_run, folder, model, weights)
    ways: dict[str, Callable[[], Figures]] = {
        "bare, 1 thread": partial(_bare, model, weights, all_, 1),
        f"bare, {most} threads": partial(_bare, model, weights, all_, most),
        "1 worker on 1 core": partial(run, 1, confined=True),
        "1 worker": partial(run, 1),
        f"{most} workers": partial(run, most),
        f"1 worker, {most} threads": partial(run, 1, threads=most),
    }
    found: dict[str, list[Figures]] = {way: [] for way in ways}
    for _ in range(options.rounds):
        for way, call in ways.items():
            found[way].append(_alone(call))
    middle = {
        way: {name: round(statistics.median(one[name] for one in each), 4) for name in each[0]}
        for way, each in found.items()
    }
    bare, all_bare, confined, one, several, wide = list(middle.values())[:6]
    ratios = {
        f"{most} workers over 1 on 1 core": several["rate"] / confined["rate"],
        f"{most} workers over 1": several["rate"] / one["rate"],
        f"{most} workers over 1 with {most} threads": several["rate"] / wide["rate"],
        f"{most} workers over bare passes on {most} threads": several["rate"] / all_bare["rate"],
        "overhead on 1 core, wall": bare["rate"] / confined["rate"] - 1,
        "overhead, CPU": one["cpu_ms"] / bare["cpu_ms"] - 1,
    }
    return {"ways": middle, **{name: round(ratio, 4) for name, ratio in ratios.items()}}


def ray(folder: Path, model: str, weights: str, options: argparse.Namespace) -> dict[str, object]:
    """Processes beside Ray: runs of a quarter of the pictures and of all, whose difference has no starts in it."""
    found: dict[str, Figures] = {}
    for workers in sorted({1, cores()}):
        for engine, address in (("processes", None), ("Ray", "local")):
            few, all_ = (
                _alone(partial(_run, folder, model, weights, workers, pictures=count, ray=address))
                for count in (options.pictures // 4, options.pictures)
            )
            rate = (all_["pictures"] - few["pictures"]) / (all_["seconds"] - few["seconds"])
            start = all_["seconds"] - all_["pictures"] / rate
            found[f"{workers} workers, {engine}"] = {"rate": round(rate, 2), "start_seconds": round(start, 2)}
    overheads = {
        f"Ray's overhead, {workers} workers": round(
            found[f"{workers} workers, processes"]["rate"] / found[f"{workers} workers, Ray"]["rate"] - 1, 4
        )
        for workers in sorted({1, cores()})
    }
    return {"ways": found, **overheads}


def memory(folder: Path, model: str, weights: str, options: argparse.Namespace) -> dict[str, object]:
    """MB of all processes together, for two numbers of workers, after a third of the pictures and after all."""
    most = cores()
    found = {
        f"{workers} workers, {count} pictures": _alone(partial(_watched, folder, model, weights, workers, count))
        for workers in (1, most)
        for count in (options.pictures // 3, options.pictures)
    }
    one, several = (found[f"{workers} workers, {options.pictures} pictures"]["mb"] for workers in (1, most))
    return {
        "MB": {way: round(figures["mb"], 1) for way, figures in found.items()},
        "MB a further worker": round((several - one) / max(1, most - 1), 1),
        "MB of weights": round(Path(weights).stat().st_size / 1e6, 1),
    }


_WHAT = {"times": times, "ray": ray, "memory": memory}


def _alone(call: Callable[[], Figures]) -> Figures:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(call).result()


def _model(folder: Path) -> tuple[str, str]:
    definition = googlenet(BATCH)
    with Net(definition, TEST) as net:
        fill_at_random(net)
        net.save(str(folder / "net.caffemodel"))
    (folder / "net.prototxt").write_text(str(definition))
    return str(folder / "net.prototxt"), str(folder / "net.caffemodel")


def _pictures(folder: Path, count: int, width: int, height: int) -> None:
    """JPEGs of about a photograph's bytes a pixel: smooth noise."""
    folder.mkdir()
    chance = np.random.default_rng(0)
    for i in range(count):
        rough = chance.integers(0, 256, (height // 8, width // 8, 3), np.uint8)
        Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC).save(
            folder / f"{i:05}.jpg", quality=90
        )


def _bare(model: str, weights: str, pictures: int, threads: int) -> Figures:
    with using_threads(threads), Net(model, TEST, weights=weights, memory="inference") as net:
        last = len(net.execution.layers) - 1
        net.forward_from_to(0, last)
        start, cpu = perf_counter(), process_time()
        for _ in range(pictures // BATCH):
            net.forward_from_to(0, last)
        done = pictures // BATCH * BATCH
        return {"rate": done / (perf_counter() - start), "cpu_ms": 1e3 * (process_time() - cpu) / done}


def _run(
    folder: Path,
    model: str,
    weights: str,
    workers: int,
    *,
    pictures: int = 0,
    threads: int = 1,
    confined: bool = False,
    ray: str | None = None,
) -> Figures:
    if confined:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(dir=folder) as out:
        source = _first(folder, pictures) if pictures else folder / "pictures"
        before, start = _of_children(), perf_counter()
        summary = batch.run(
            model, weights, source, f"{out}/rows", batch.Classify(),
            batch=BATCH, workers=workers, threads=threads, ray=ray, progress=False,
        )  # fmt: skip
        whole, used = perf_counter() - start, _of_children() - before
    inside = sum(done.seconds.total for done in summary.done) / workers
    return {
        "rate": summary.rate,
        "pictures": summary.pictures,
        "seconds": summary.seconds,
        "cpu_ms": 1e3 * used / summary.pictures,
        "rate_in_workers": summary.pictures / inside,
        "seconds_before": whole - summary.seconds,
        **{f"share_{name}": share for name, share in summary.shares.items()},
    }


def _of_children() -> float:
    """CPU seconds of processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _watched(folder: Path, model: str, weights: str, workers: int, pictures: int) -> Figures:
    with tempfile.TemporaryDirectory(dir=folder) as out, _Watch() as watch:
        batch.run(
            model, weights, _first(folder, pictures), f"{out}/rows", batch.Classify(),
            batch=BATCH, workers=workers, threads=1, progress=False,
        )  # fmt: skip
    return {"mb": watch.most}


def _first(folder: Path, pictures: int) -> Path:
    """A list of so many."""
    source = folder / f"{pictures}.txt"
    names = sorted((folder / "pictures").iterdir())[:pictures]
    source.write_text("".join(f"{name} 0\n" for name in names))
    return source


class _Watch:
    """The most that this process and its workers took together, shared pages counted once."""

    def __init__(self) -> None:
        self.most, self._end = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._end.wait(0.5):
            each = [_pss(str(child.pid)) for child in multiprocessing.active_children()]
            self.most = max(self.most, _pss("self") + sum(each))

    def __enter__(self) -> "_Watch":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join()


def _pss(process: str) -> float:
    """MB, or 0 of a process that is gone."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1e3 for line in lines if line.startswith("Pss:")), 0.0)


if __name__ == "__main__":
    main()
