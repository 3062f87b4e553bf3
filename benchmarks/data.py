"""Where data come from: decoding beside Pillow, whole batches, and how long a LeNet step waits for its own."""

import io
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import machine
from caffepy import TRAIN, SGDSolver, set_random_seed
from caffepy.data import DatabaseSource, DatabaseWriter, DataTransformer, decode
from caffepy.data.batch_maker import BatchMaker
from caffepy.data.threads import side_by_side
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import Datum, SolverParameter, TransformationParameter

BATCH = 64
LENET = """
net_param {
  name: "LeNet"
  layer { name: "mnist" type: "Data" top: "data" top: "label" transform_param { scale: 0.00390625 }
          data_param { source: "%s" batch_size: 64 backend: LMDB } }
  layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param { num_output: 20
          kernel_size: 5 weight_filler { type: "xavier" } } }
  layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { kernel_size: 2 stride: 2 } }
  layer { name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2" convolution_param { num_output: 50
          kernel_size: 5 weight_filler { type: "xavier" } } }
  layer { name: "pool2" type: "Pooling" bottom: "conv2" top: "pool2" pooling_param { kernel_size: 2 stride: 2 } }
  layer { name: "ip1" type: "InnerProduct" bottom: "pool2" top: "ip1" inner_product_param { num_output: 500
          weight_filler { type: "xavier" } } }
  layer { name: "relu1" type: "ReLU" bottom: "ip1" top: "ip1" }
  layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2" inner_product_param { num_output: 10
          weight_filler { type: "xavier" } } }
  layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" top: "loss" }
}
base_lr: 0.01 momentum: 0.9 weight_decay: 0.0005 lr_policy: "fixed" max_iter: 1000000 random_seed: 1
"""


def measure(rounds: int, pictures: int, steps: int = 50) -> dict[str, Any]:
    """Pictures a second, and shares of time; `pictures` JPEGs of 256 x 256, drawn by program, in memory."""
    jpegs = list(draw(pictures))
    cores = machine.cores()
    ways: dict[str, Callable[[], object]] = {
        "Pillow, one thread": lambda: [_pillow(jpeg) for jpeg in jpegs],
        "Pillow, all cores": lambda: side_by_side(_pillow, jpegs),
        "caffepy, one thread": lambda: [decode(jpeg, True, "picture") for jpeg in jpegs],
        "caffepy, all cores": lambda: side_by_side(lambda jpeg: decode(jpeg, True, "picture"), jpegs),
    }
    seconds = in_turn(ways, rounds)
    rates = {name: _rates(times, pictures) for name, times in seconds.items()}
    work = in_turn(ways, rounds, time.process_time)
    result: dict[str, Any] = {"cores": cores, "decoding, pictures a second": rates}
    for figure in ("median", "best"):
        ideal = cores * rates["Pillow, one thread"][figure]
        result[f"caffepy on all cores / Pillow on one times {cores}, {figure}"] = round(
            rates["caffepy, all cores"][figure] / ideal, 3
        )
    result["caffepy / Pillow, both on all cores, median"] = round(
        rates["caffepy, all cores"]["median"] / rates["Pillow, all cores"]["median"], 3
    )
    result["processor time of a picture, ms, median"] = {
        name: round(1000 * statistics.median(times) / pictures, 3) for name, times in work.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        result["batches of 64 from JPEGs in an LMDB, pictures a second"] = _batches(Path(folder), jpegs, rounds)
        result["LeNet"] = _lenet(Path(folder), rounds, steps)
    return result


def draw(count: int) -> Iterator[bytes]:
    """JPEGs of quality 95 with edges, slopes and noise."""
    chance = np.random.default_rng(0)
    y, x = np.mgrid[:256, :256] / 255
    for _ in range(count):
        angle, waves = chance.uniform(0, np.pi), chance.uniform(3, 20, 3)
        slope = (np.cos(angle) * x + np.sin(angle) * y)[..., None]
        values = 127 + 90 * np.sign(np.sin(slope * waves)) * slope + chance.normal(0, 8, (256, 256, 3))
        out = io.BytesIO()
        Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=95)
        yield out.getvalue()


def in_turn(
    ways: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of each way in each round, the ways taking turns; by time.process_time those of the process's threads."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name in sorted(ways, reverse=bool(turn % 2)):
            start = clock()
            ways[name]()
            if turn:  # the first warms up
                seconds[name].append(clock() - start)
    return seconds


def _pillow(jpeg: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))


def _rates(seconds: list[float], count: int) -> dict[str, int]:
    return {"median": round(count / statistics.median(seconds)), "best": round(count / min(seconds))}


@contextmanager
def _database(path: Path, datums: list[Datum]) -> Iterator[str]:
    with DatabaseWriter(path, "LMDB") as database:
        for i, datum in enumerate(datums):
            database.put(f"{i:08}".encode(), datum.SerializeToString())
    yield str(path)


def _batches(folder: Path, jpegs: list[bytes], rounds: int) -> dict[str, int]:
    param = TransformationParameter(crop_size=227, mirror=True, mean_value=[104, 117, 123])
    with _database(folder / "jpegs", [Datum(data=jpeg, label=0, encoded=True) for jpeg in jpegs]) as path:
        transformer = DataTransformer(param, TRAIN)
        set_random_seed(1)
        transformer.seed()
        maker = BatchMaker(DatabaseSource(path, "LMDB"), transformer, BATCH)
        batch = maker.make()
        seconds = in_turn({"make": lambda: maker.make(batch)}, 3 * rounds)["make"]
    return _rates(seconds, BATCH)


def _lenet(folder: Path, rounds: int, steps: int) -> dict[str, Any]:
    """A training step of LeNet on raw records of 28 x 28."""
    digits = np.random.default_rng(0).integers(0, 256, (2000, 1, 28, 28), np.uint8)
    datums = [
        Datum(channels=1, height=28, width=28, data=digit.tobytes(), label=i % 10) for i, digit in enumerate(digits)
    ]
    with _database(folder / "digits", datums) as path:
        solver = SGDSolver(prototxt.parse(LENET % path, SolverParameter))
        solver.step(steps)
        layer = solver.net.layers[0]
        milliseconds, shares = [], []
        for _ in range(rounds):
            start, waited = time.perf_counter(), layer.waited
            solver.step(steps)
            taken = time.perf_counter() - start
            milliseconds.append(1000 * taken / steps)
            shares.append((layer.waited - waited) / taken)
    return {
        "ms a step, median": round(statistics.median(milliseconds), 2),
        "share waiting for data, median": round(statistics.median(shares), 4),
    }
