"""Reading a CaffeNet-sized caffemodel (244 MB) into a net, beside reading the bytes of the same file."""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import caffepy
from benchmarks import resident
from caffepy.zoo.nets import caffenet


def measure(rounds: int) -> dict[str, Any]:
    """Both ways in turns, with a warm cache; and the memory that loading takes beyond the net's own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.caffemodel"
        net = caffepy.Net(caffenet(1), caffepy.TEST)
        net.save(path)
        ways: dict[str, Callable[[], Any]] = {"read": path.read_bytes, "copy_from": lambda: net.copy_from(path)}
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                start = time.perf_counter()
                way()
                times[name].append(1e3 * (time.perf_counter() - start))
        size = path.stat().st_size
        extra = json.loads(subprocess.check_output([sys.executable, "-m", "benchmarks.load", str(path)], text=True))
    return {
        "file MB": round(size / 1e6, 1),
        **{f"{name} median ms": round(statistics.median(values), 1) for name, values in times.items()},
        **{f"{name} minimum ms": round(min(values), 1) for name, values in times.items()},
        "ratio of medians": round(statistics.median(times["copy_from"]) / statistics.median(times["read"]), 3),
        "peak extra memory / file": None if extra is None else round(extra / size, 3),
    }


def peak_extra_memory(path: str) -> int | None:
    """Bytes by which the process grows, mapped pages included, while a net that stands already loads the file.

    None where the system does not tell (it is read from Linux's /proc).
    """
    net = caffepy.Net(caffenet(1), caffepy.TEST)
    net.copy_from(path)  # weights of zeros take no memory before somebody writes them
    resident.forget_peak()
    before = resident.now()
    net.copy_from(path)
    peak = resident.peak()
    return None if before is None or peak is None else peak - before


if __name__ == "__main__":
    print(json.dumps(peak_extra_memory(sys.argv[1])))
