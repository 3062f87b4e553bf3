"""One engine with one net in a process of its own, so that no library's threads disturb the other's.

`python -m benchmarks.worker ENGINE NET BATCH THREADS` reads commands from its input, one a line, and answers each
with a line of JSON:

    forward N     seconds of N forward passes
    gradient N    seconds of N forward passes, each with the gradient of one score with respect to the data
    layers N      {layer type: [seconds forward, backward]}, every layer's fastest in N passes
    check         numbers of the gradient, to compare the engines by
"""

import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

import caffepy
from benchmarks.nets import NETS
from caffepy.layer import Layer
from caffepy.proto.caffe_pb2 import NetParameter

CLASS = 281


def build(definition: NetParameter) -> caffepy.Net:
    """The net with seeded weights and input."""
    caffepy.set_random_seed(1701)
    net = caffepy.Net(definition, caffepy.TEST)
    data = net.blobs["data"]
    data.data[...] = np.random.default_rng(1701).standard_normal(data.shape)
    start = net.layers[0].name
    for before, layer in pairwise(net.layers):
        if layer.type == "BatchNorm":
            net.forward(start=start, end=before.name)
            start = layer.name
            gather_statistics(layer, net.blobs[layer.param.bottom[0]].data)
    return net


def gather_statistics(layer: Layer, values: np.ndarray) -> None:
    """Let a BatchNorm normalise by the statistics of these values, so that a deep net neither grows nor fades."""
    layer.blobs[0].data[...] = values.mean(axis=(0, 2, 3))
    layer.blobs[1].data[...] = values.var(axis=(0, 2, 3))
    layer.blobs[2].data[...] = 1


def one_score(net: caffepy.Net) -> np.ndarray:
    """The diff that asks for the gradient of one class's score, for every image."""
    diff = np.zeros(net.blobs[net.outputs[0]].shape, np.float32)
    diff[:, CLASS] = 1
    return diff


class Caffepy:
    """This project's engine."""

    def __init__(self, name: str, batch: int, threads: int) -> None:
        self.net = build(NETS[name](batch))
        self.diffs: dict[str | tuple[str, str], Any] = {self.net.outputs[0]: one_score(self.net)}

    def forward(self) -> None:
        self.net.forward()

    def gradient(self) -> np.ndarray:
        self.net.forward()
        return self.net.gradient(self.diffs, "data")["data"]

    def layers(self, passes: int) -> dict[str, list[float]]:
        times: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        fastest: dict[tuple[str, int], float] = {}
        for layer in self.net.layers:
            for way, method in enumerate(("forward", "backward")):
                setattr(layer, method, _timed(getattr(layer, method), fastest, (layer.name, way)))
        for _ in range(passes):
            self.gradient()
        for layer in self.net.layers:
            for way, method in enumerate(("forward", "backward")):
                delattr(layer, method)
                times[layer.type][way] += fastest.get((layer.name, way), 0.0)
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

    def forward(self) -> None:
        with self.torch.inference_mode():
            self.net.forward(self.data)

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


ENGINES: dict[str, type[Caffepy] | type[Torch]] = {"caffepy": Caffepy, "torch": Torch}


def _timed(
    method: Callable[..., Any], fastest: dict[tuple[str, int], float], key: tuple[str, int]
) -> Callable[..., Any]:
    def run(*args: Any) -> Any:
        start = time.perf_counter()
        result = method(*args)
        fastest[key] = min(fastest.get(key, float("inf")), time.perf_counter() - start)
        return result

    return run


def _times(run: Callable[[], Any], passes: int) -> list[float]:
    times = []
    for _ in range(passes):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times


def main(engine: str, name: str, batch: int, threads: int) -> None:
    """Answer commands until the input ends."""
    runner = ENGINES[engine](name, batch, threads)
    for line in sys.stdin:
        command, _, count = line.strip().partition(" ")
        answer: Any
        if command == "check":
            gradient = runner.gradient().astype(np.float64)
            answer = [gradient.sum(), np.abs(gradient).sum(), np.square(gradient).sum()]
        elif command == "layers":
            answer = runner.layers(int(count))
        else:
            answer = _times(getattr(runner, command), int(count))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
