"""PyTorch on the CPU, eager and compiled: the same net, translated layer by layer."""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import case
from benchmarks.runs import one_score
from benchmarks.torch_net import TorchNet


class Torch:
    """PyTorch eager."""

    ways = ("forward", "gradient", "backward")

    def __init__(self, folder: Path, threads: int) -> None:
        torch.set_num_threads(threads)
        net = case.load(folder)
        self.net = TorchNet(net)
        self.data = torch.from_numpy(net.blobs[net.inputs[0]].data.copy())
        self.diff = torch.from_numpy(one_score(net))
        self.run: Callable[[torch.Tensor], torch.Tensor] = self.net.forward

    def forward(self) -> list[np.ndarray]:
        with torch.inference_mode():
            return [self.run(self.data).numpy()]

    def gradient(self) -> list[np.ndarray]:
        data = self.data.detach().requires_grad_()
        top = self.run(data)
        return [torch.autograd.grad(top, data, self.diff.reshape(top.shape))[0].numpy()]

    def backward(self) -> list[np.ndarray]:
        weights = self.net.learned
        for weight in weights:
            weight.requires_grad_(True)
        data = self.data.detach().requires_grad_()
        top = self.run(data)
        _, *found = torch.autograd.grad(top, [data, *weights], self.diff.reshape(top.shape))
        for weight in weights:
            weight.requires_grad_(False)
        return [diff.numpy() for diff in found]

    def layers(self, passes: int) -> dict[str, dict[str, Any]]:
        times: dict[tuple[str, int], list[float]] = defaultdict(list)
        for _ in range(passes):
            self._layer_by_layer(times)
        kinds = {layer.name: layer.type for layer in self.net.layers}
        return {
            name: {"type": kind, "ms": [_median(times.get((name, way))) for way in (0, 1)]}
            for name, kind in kinds.items()
        }

    def _layer_by_layer(self, times: dict[tuple[str, int], list[float]]) -> None:
        """One pass forward and back, every layer a graph of its own."""
        blobs = {self.net.input: self.data}
        done: list[tuple[str, list[Any], Any]] = []
        for layer in self.net.layers:
            inputs = [blobs[name].detach().requires_grad_() for name in layer.bottoms]
            step = torch.relu if layer.step is torch.relu_ else layer.step
            blobs[layer.top] = _timed(step, times[layer.name, 0])(*inputs)
            done.append((layer.name, inputs, blobs[layer.top]))
        diffs = {id(done[-1][2]): self.diff.reshape(done[-1][2].shape)}
        tops = {id(top): top for _, _, top in done}
        for name, inputs, top in reversed(done):
            if id(top) not in diffs:
                continue
            backward = _timed(torch.autograd.grad, times[name, 1])
            for data, diff in zip(inputs, backward(top, inputs, diffs.pop(id(top))), strict=True):
                source = next((key for key, value in tops.items() if value.data_ptr() == data.data_ptr()), None)
                if source is not None:
                    diffs[source] = diffs[source] + diff if source in diffs else diff


class Compiled(Torch):
    """PyTorch compiled for the shapes at hand."""

    def __init__(self, folder: Path, threads: int) -> None:
        super().__init__(folder, threads)
        self.run = torch.compile(self.net.forward, dynamic=False)


def _median(seconds: list[float] | None) -> float | None:
    return round(1e3 * statistics.median(seconds), 4) if seconds else None


def _timed(method: Callable[..., Any], times: list[float]) -> Callable[..., Any]:
    def run(*args: Any) -> Any:
        start = time.perf_counter()
        result = method(*args)
        times.append(time.perf_counter() - start)
        return result

    return run
