"""caffepy's layers and nets on the running device, with arrays that never visit the host."""

import functools
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

import caffepy
import caffepy.layers  # registers the types
from benchmarks.gpu.cases import Case, unfilled
from benchmarks.gpu.clock import FLUSHED, median
from benchmarks.gpu.sizes import Sizes
from benchmarks.runs import CLASS
from caffepy import device
from caffepy.blob import Blob, SyncedArray
from caffepy.kernels import Kernel, observed
from caffepy.layer import TYPES
from caffepy.proto.caffe_pb2 import NetParameter

NOISE = 1 << 20


def gpu() -> device.Gpu:
    """The running GPU."""
    running = device.current()
    assert not isinstance(running, device.Cpu), "call it in GPU mode"
    return running


def download(array: Any) -> np.ndarray:
    """A host copy of an array on the GPU."""
    host = np.empty(array.shape, array.dtype)
    gpu().download(array, host)
    return host


def make_noise(array: Any, seed: int = 0, positive: bool = False) -> None:
    """Normal noise into an array on the GPU, the same again after a million elements."""
    flat, noise = array.reshape(-1), _noise(gpu(), seed, positive)
    for begin in range(0, flat.size, NOISE):
        part = flat[begin : begin + NOISE]
        gpu().copy(noise[: part.size], part)


@functools.lru_cache(maxsize=4)
def _noise(on: Any, seed: int, positive: bool) -> Any:
    noise = np.random.default_rng(seed).standard_normal(NOISE).astype(np.float32)
    array = on.zeros(NOISE, np.float32)
    on.upload(np.abs(noise) + 0.5 if positive else noise, array)
    return array


class Stream:
    """Where everything of caffepy's is launched and timed."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes, self._stream = sizes, gpu().stream()
        self._flushed = gpu().zeros(FLUSHED * sizes.l2 // 4, np.float32)

    def flush(self) -> None:
        """Put everything out of the L2 cache, and keep the device busy until the host has launched what comes next."""
        gpu().fill(self._flushed, 1.0)

    def replayed(self, bodies: Iterable[Callable[[], None]]) -> float:
        """Milliseconds of one of the bodies, when all are run one after the other from a captured graph."""
        bodies = list(bodies)

        def all_of_them() -> None:
            for body in bodies:
                body()

        with gpu().ordered(self._stream):
            all_of_them()
            graph = gpu().capture(all_of_them)
            milliseconds = median(graph.launch, gpu().elapsed, self.sizes, self.flush) / len(bodies)
        gpu().synchronize()
        return milliseconds

    def once(self, body: Callable[[], None]) -> float:
        """Milliseconds of the body on the device, from a cold cache; the host's part shows where it is longer."""
        with gpu().ordered(self._stream):
            for _ in range(3):  # a net's pass is run, then captured, then replayed
                body()
            milliseconds = median(body, gpu().elapsed, self.sizes, self.flush)
        gpu().synchronize()
        return milliseconds

    def host(self, body: Callable[[], None]) -> float:
        """Microseconds that the host needs for it; the device is idle when it begins."""

        def elapsed(body: Callable[[], None]) -> float:
            gpu().synchronize()
            start = time.perf_counter()
            body()
            return 1e3 * (time.perf_counter() - start)

        return 1e3 * median(body, elapsed, self.sizes)


class LayerCopy:
    """A case's layer with noise in its bottoms, weights and top diffs."""

    def __init__(self, case: Case, workspace: SyncedArray) -> None:
        self.layer = TYPES[case.type](case.param, caffepy.TEST)
        self.layer.use_workspace(workspace)
        self.layer.setup(case.bottoms)
        self.bottom = [Blob(shape) for shape in case.bottoms]
        self.top = [Blob(shape) for shape in self.layer.reshape(case.bottoms)]
        for i, blob in enumerate((*self.bottom, *self.layer.blobs)):
            make_noise(blob.gpu_data, i, positive=case.type == "BatchNorm" and blob in self.layer.blobs)
        if case.type == "BatchNorm":
            gpu().fill(self.layer.blobs[2].gpu_data, 1.0)
        for blob in self.top:
            make_noise(blob.gpu_diff, 9)
        self.run("forward")

    def run(self, way: str) -> None:
        """One of the case's ways."""
        top = [blob.arrays(("overwrite", "read")) for blob in self.top]
        bottom = [blob.arrays(("read", "overwrite")) for blob in self.bottom]
        if way == "forward":
            self.layer.forward(bottom, top)
            return
        wanted = [way == "weights", way == "bias", False]
        self.layer.param_propagate_down = wanted[: len(self.layer.blobs)]
        self.layer.backward(top, [way == "backward"] * len(bottom), bottom)

    def run_all(self, ways: Iterable[str]) -> None:
        """One after the other."""
        for way in ways:
            self.run(way)

    def work(self, way: str) -> tuple[int, int]:
        """Operations of products, and bytes read and written, if each element goes through memory once."""
        flops, moved = 0, 0

        def note(kernel: Kernel[...], args: Any, constants: Any) -> bool:
            nonlocal flops, moved
            work = kernel.work(*args, **constants)
            flops, moved = flops + work[0], moved + work[1]
            return False

        with observed(note):
            self.run(way)
        return flops, moved

    def result(self, way: str) -> Any:
        """What that way computes, on the device; run once for it."""
        blob = {"forward": self.top, "backward": self.bottom, "weights": self.layer.blobs, "bias": self.layer.blobs[1:]}
        found = blob[way][0]
        if way in ("weights", "bias"):
            gpu().fill(found.gpu_diff, 0.0)
        self.run(way)
        return found.gpu_data if way == "forward" else found.gpu_diff


class NetCopy:
    """A net of some batch size with the weights of `template`, noise as its input, one score's diff."""

    def __init__(self, definition: NetParameter, template: caffepy.Net) -> None:
        self.net = caffepy.Net(unfilled(definition), caffepy.TEST)
        self.net.share_with(template)
        make_noise(self.net.blobs["data"].gpu_data)
        self.output = self.net.outputs[0]
        shape = self.net.blobs[self.output].shape
        self.diff, self.gradients = (self._zeros(s) for s in (shape, self.net.blobs["data"].shape))
        one_hot = np.zeros(shape, np.float32)
        one_hot.reshape(shape[0], -1)[:, CLASS % (one_hot.size // shape[0])] = 1
        gpu().upload(one_hot, self.diff)

    def forward(self) -> None:
        """As a script that leaves the result on the device."""
        self.net.forward_from_to(0, len(self.net.layers) - 1)

    def gradient(self) -> None:
        """Forward, and the gradient of the score of every image."""
        self.forward()
        self.net.gradient({self.output: self.diff}, "data", out={"data": self.gradients})

    @staticmethod
    def _zeros(shape: tuple[int, ...]) -> Any:
        return gpu().zeros(int(np.prod(shape)), np.float32).reshape(shape)


def precisions() -> list[str]:
    """Those that products on the running GPU may be computed in."""
    return ["fp32", "tf32"] if gpu().compute_capability >= 80 else ["fp32"]
