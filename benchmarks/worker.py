"""One engine on one net in a process of its own: `python -m benchmarks.worker ENGINE FOLDER THREADS`.

The folder is one that benchmarks.case has written. The first line that it prints is JSON of what the engine can do, or
of the error that the net was for it: forward; gradient (forward, and the gradient of one score with respect to the
input); backward (forward, and the gradients of that score with respect to the input and all weights). Commands are read
from the input, one a line, and answered with a line of JSON:

    WAY N         seconds of each of N runs
    cpu           seconds of the process, all its threads together, that the last command took
    check WAY     writes samples of the way's results to FOLDER/ENGINE-WAY.npz
    layers N      medians of N runs of each layer by itself, forward and backward in ms
    memory WAY    bytes: before the net was made, with it, and the most that two runs of the way took
"""

import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import case, resident
from benchmarks.runs import one_score
from benchmarks.turns import seconds_of

WAYS = "forward", "gradient", "backward"
_OUT = sys.stdout
SAMPLES = 4096
"""Of each array that engines are compared by."""


class Caffepy:
    """This project's engine."""

    ways = WAYS

    def __init__(self, folder: Path, threads: int, **options: Any) -> None:
        import caffepy

        caffepy.set_threads(threads)
        caffepy.set_param_diffs("always")
        self.net = case.load(folder, **options)
        self.output = self.net.outputs[0]
        self.diff = one_score(self.net)

    def forward(self) -> list[np.ndarray]:
        return [self.net.forward()[self.output]]

    def gradient(self) -> list[np.ndarray]:
        self.net.forward()
        return [self.net.gradient({self.output: self.diff}, self.net.inputs[0])[self.net.inputs[0]]]

    def backward(self) -> list[np.ndarray]:
        self.net.forward()
        self.net.clear_param_diffs()
        for name in self.net.outputs:
            self.net.blobs[name].diff[...] = self.diff if name == self.output else 0
        self.net.backward()
        return [blob.read_diff() for layer in self.net.layers if _learns(layer.type) for blob in layer.blobs]

    def layers(self, passes: int) -> dict[str, dict[str, Any]]:
        costs = self.net.profile(passes).layers
        both = {cost.name: (cost.forward, cost.backward) for cost in costs}
        return {
            cost.name: {
                "type": cost.type,
                "ms": [way.ms if way else None for way in both[cost.name]],
                "flops": [way.flops if way else None for way in both[cost.name]],
                "bytes": [way.bytes if way else None for way in both[cost.name]],
            }
            for cost in costs
        }


class Sharing(Caffepy):
    """The same where blobs take turns in the same memory."""

    ways = ("forward",)

    def __init__(self, folder: Path, threads: int) -> None:
        super().__init__(folder, threads, memory="inference")


def _learns(kind: str) -> bool:
    return kind in ("Convolution", "InnerProduct", "Scale")


def _engine(name: str) -> Callable[[Path, int], Any]:
    if name in ("caffepy", "caffepy-inference"):
        return Caffepy if name == "caffepy" else Sharing
    if name.startswith("torch"):
        from benchmarks.torch_engine import Compiled, Torch

        return Compiled if name == "torch-compile" else Torch
    from benchmarks import other_engines

    return {"onnxruntime": other_engines.OnnxRuntime, "opencv": other_engines.OpenCv, "caffe": other_engines.Caffe}[
        name
    ]


def _sampled(array: np.ndarray) -> np.ndarray:
    flat = np.asarray(array, np.float32).reshape(-1)
    return flat[:: max(1, flat.size // SAMPLES)].copy()


class Worker:
    """Answers commands."""

    def __init__(self, name: str, folder: Path, threads: int) -> None:
        make = _engine(name)
        self.name, self.folder = name, folder
        self.before = resident.now()
        self.engine = make(folder, threads)
        gc.collect()
        self.made = resident.now()
        self.cpu = 0.0

    def answer(self, command: str, argument: str) -> Any:
        if command == "cpu":
            return self.cpu
        if command == "check":
            results = getattr(self.engine, argument)()
            np.savez(self.folder / f"{self.name}-{argument}.npz", *map(_sampled, results))
            return True
        if command == "memory":
            return self.memory(getattr(self.engine, argument))
        if command == "layers":
            return self.engine.layers(int(argument))
        start = time.process_time()
        found = seconds_of(getattr(self.engine, command), int(argument))
        self.cpu = time.process_time() - start
        return found

    def memory(self, way: Callable[[], object]) -> dict[str, int | None]:
        resident.forget_peak()
        for _ in range(2):
            way()
        return {"before": self.before, "made": self.made, "peak": resident.peak()}


def main(name: str, folder: str, threads: str) -> None:
    """Answer commands until the input ends."""
    try:
        worker = Worker(name, Path(folder), int(threads))
    except Exception as error:  # whatever a peer raises for a net that it does not know
        reply({"error": f"{type(error).__name__}: {error}".splitlines()[0]})
        return
    reply(list(worker.engine.ways))
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        reply(worker.answer(command, argument))


def reply(answer: Any) -> None:
    """A line of JSON; what a library prints goes elsewhere."""
    print(json.dumps(answer), file=_OUT, flush=True)


if __name__ == "__main__":
    sys.stdout = sys.stderr
    main(*sys.argv[1:])
