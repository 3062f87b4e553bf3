"""`python -m benchmarks.batches`: what a batch run takes beyond its net's bare passes, and what a second worker gives.

GoogLeNet of random weights at batch 16, on the CPU. In turn: bare passes on one thread and on all, runs with one worker
of one thread and with one for each core. Rates are of the wall clock; CPU time a picture is given too, which other
processes on the machine disturb less.
"""

import argparse
import json
import multiprocessing
import resource
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from caffepy import TEST, Net, batch
from caffepy.cli.model import fill_at_random
from caffepy.device.threads import cores, using_threads
from caffepy.zoo.nets import googlenet

BATCH = 16


def main() -> None:
    """Print JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batches", description=__doc__)
    parser.add_argument("--pictures", type=int, default=256)
    parser.add_argument("--size", default="256x256", help="WIDTHxHEIGHT of the pictures")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ray", action="store_true", help="runs on Ray, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="caffepy-batches-") as folder:
        print(json.dumps(measure(Path(folder), options), indent=2))


def measure(folder: Path, options: argparse.Namespace) -> dict[str, object]:
    """The median of the rounds for each way, and what follows from them."""
    model, weights = _model(folder)
    width, height = map(int, options.size.split("x"))
    _pictures(folder / "pictures", options.pictures, width, height)
    most = cores()
    ways: dict[str, Callable[[], dict[str, float]]] = {
        "bare, 1 thread": lambda: _bare(model, weights, options.pictures, 1),
        f"bare, {most} threads": lambda: _bare(model, weights, options.pictures, most),
        "1 worker": lambda: _run(folder, model, weights, 1),
        f"{most} workers": lambda: _run(folder, model, weights, most),
    }
    if options.ray:
        ways[f"{most} workers on Ray"] = lambda: _run(folder, model, weights, most, "local")
    found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for _ in range(options.rounds):
        for way, call in ways.items():
            found[way].append(call())
    middle = {
        way: {name: round(statistics.median(one[name] for one in each), 4) for name in each[0]}
        for way, each in found.items()
    }
    one, all_, bare, all_bare = (middle[way] for way in ("1 worker", f"{most} workers", *list(ways)[:2]))
    weights_mb = Path(weights).stat().st_size / 1e6
    return {
        "pictures": options.pictures,
        "size": options.size,
        "ways": middle,
        f"{most} workers over 1": round(all_["rate"] / one["rate"], 3),
        f"{most} workers over one process with {most} threads": round(all_["rate"] / all_bare["rate"], 3),
        "overhead, wall": round(1 - one["rate"] / bare["rate"], 4),
        "overhead, CPU": round(one["cpu_ms"] / bare["cpu_ms"] - 1, 4),
        "MB a further worker": round((all_["pss_mb"] - one["pss_mb"]) / max(1, most - 1), 1),
        "MB of weights": round(weights_mb, 1),
    }


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


def _bare(model: str, weights: str, pictures: int, threads: int) -> dict[str, float]:
    with using_threads(threads), Net(model, TEST, weights=weights, memory="inference") as net:
        last = len(net.execution.layers) - 1
        net.forward_from_to(0, last)
        start, cpu = time.perf_counter(), time.process_time()
        for _ in range(pictures // BATCH):
            net.forward_from_to(0, last)
        done = pictures // BATCH * BATCH
        seconds, used = time.perf_counter() - start, time.process_time() - cpu
        return {"rate": done / seconds, "cpu_ms": 1e3 * used / done, "pss_mb": _pss("self")}


def _run(folder: Path, model: str, weights: str, workers: int, ray: str | None = None) -> dict[str, float]:
    with tempfile.TemporaryDirectory(dir=folder) as out, _Watch() as watch:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        summary = batch.run(
            model, weights, folder / "pictures", f"{out}/rows", batch.Classify(),
            batch=BATCH, shard=2 * BATCH, workers=workers, threads=1, ray=ray, progress=False,
        )  # fmt: skip
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    shares = {f"share_{name}": share for name, share in summary.shares.items()}
    return {"rate": summary.rate, "cpu_ms": 1e3 * used / summary.pictures, "pss_mb": watch.most, **shares}


class _Watch:
    """The most that this process and its workers took together, shared pages counted once."""

    def __init__(self) -> None:
        self.most, self._end = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._end.wait(0.2):
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
