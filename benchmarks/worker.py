"""One engine with one net in a process of its own, so that no library's threads disturb the other's.

`python -m benchmarks.worker ENGINE NET BATCH THREADS` reads commands from its input, one a line, and answers each
with a line of JSON:

    forward N     seconds of N forward passes
    gradient N    seconds of N forward passes, each with the gradient of one score with respect to the data
    layers N      {layer type: [seconds forward, backward]}, of N passes of each layer by itself
    cpu forward N, cpu gradient N     seconds of the process's own time, all its threads together
    check         numbers of the gradient, or of the output of an engine that has none, to compare the engines by
"""

import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.nets import NETS
from benchmarks.peers import OnnxRuntime, OpenCv
from benchmarks.runs import build, one_score


class Caffepy:
    """This project's engine."""

    def __init__(self, name: str, batch: int, threads: int) -> None:
        self.net = build(NETS[name](batch))
        self.diffs: dict[str | tuple[str, str], Any] = {self.net.outputs[0]: one_score(self.net)}

    def forward(self) -> np.ndarray:
        found: np.ndarray = self.net.forward()[self.net.outputs[0]]
        return found

    def gradient(self) -> np.ndarray:
        self.net.forward()
        return self.net.gradient(self.diffs, "data")["data"]

    def layers(self, passes: int) -> dict[str, list[float]]:
        times: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for layer in self.net.profile(passes).layers:
            for way, cost in enumerate((layer.forward, layer.backward)):
                times[layer.type][way] += 1e-3 * (cost.ms or 0) if cost else 0
        return times


class Torch:
    """PyTorch eager."""

    def __init__(self, name: str, batch: int, threads: int) -> None:
        import torch

        from benchmarks.torch_net import TorchNet

        torch.set_num_threads(threads)
        self.torch = torch
        net = build(NETS[name](batch))
        self.net = TorchNet(net)
        self.data = torch.from_numpy(net.blobs["data"].data.copy())
        self.diff = torch.from_numpy(one_score(net))

    def forward(self) -> np.ndarray:
        with self.torch.inference_mode():
            found: np.ndarray = self.net.forward(self.data).numpy()
        return found

    def gradient(self) -> np.ndarray:
        found: np.ndarray = self.net.gradient(self.data, self.diff).numpy()
        return found

    def layers(self, passes: int) -> dict[str, list[float]]:
        fastest: dict[tuple[str, int], float] = {}
        for _ in range(passes):
            self._layer_by_layer(fastest)
        times: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        kinds = {layer.name: layer.type for layer in self.net.layers}
        for (name, way), seconds in fastest.items():
            times[kinds[name]][way] += seconds
        return times

    def _layer_by_layer(self, fastest: dict[tuple[str, int], float]) -> None:
        """One pass forward and back, every layer a graph of its own."""
        blobs = {"data": self.data}
        done: list[tuple[str, list[Any], Any]] = []
        for layer in self.net.layers:
            inputs = [blobs[name].detach().requires_grad_() for name in layer.bottoms]
            step = self.torch.relu if layer.step is self.torch.relu_ else layer.step
            blobs[layer.top] = _timed(step, fastest, (layer.name, 0))(*inputs)
            done.append((layer.name, inputs, blobs[layer.top]))
        diffs = {id(done[-1][2]): self.diff}
        tops = {id(top): top for _, _, top in done}
        for name, inputs, top in reversed(done):
            backward = _timed(self.torch.autograd.grad, fastest, (name, 1))
            for data, diff in zip(inputs, backward(top, inputs, diffs.pop(id(top))), strict=True):
                source = next((key for key, value in tops.items() if value.data_ptr() == data.data_ptr()), None)
                if source is not None:
                    diffs[source] = diffs[source] + diff if source in diffs else diff


ENGINES: dict[str, Any] = {"caffepy": Caffepy, "torch": Torch, "onnxruntime": OnnxRuntime, "opencv": OpenCv}


def _timed(
    method: Callable[..., Any], fastest: dict[tuple[str, int], float], key: tuple[str, int]
) -> Callable[..., Any]:
    def run(*args: Any) -> Any:
        start = time.perf_counter()
        result = method(*args)
        fastest[key] = min(fastest.get(key, float("inf")), time.perf_counter() - start)
        return result

    return run


def _times(run: Callable[[], Any], passes: int, clock: Callable[[], float]) -> list[float]:
    times = []
    for _ in range(passes):
        start = clock()
        run()
        times.append(clock() - start)
    return times


def _sums(values: np.ndarray) -> list[float]:
    return [float(values.sum()), float(np.abs(values).sum()), float(np.square(values).sum())]


def main(engine: str, name: str, batch: int, threads: int) -> None:
    """Answer commands until the input ends."""
    runner = ENGINES[engine](name, batch, threads)
    for line in sys.stdin:
        *own, command, count = [*line.split(), "0"][: 3 if line.startswith("cpu") else 2]
        answer: Any
        if command == "check":
            found = {what: getattr(runner, what)() for what in ("forward", "gradient") if hasattr(runner, what)}
            answer = {what: _sums(np.asarray(values, np.float64)) for what, values in found.items()}
        elif command == "layers":
            answer = runner.layers(int(count))
        else:
            clock = time.process_time if own else time.perf_counter
            answer = _times(getattr(runner, command), int(count), clock)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
