"""PyTorch, on the same GPU with the same numbers, in each of its modes; on the CPU where the GPU is an emulated one."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch._dynamo
import torch._functorch.config

import caffepy
from benchmarks.gpu.cases import Case
from benchmarks.gpu.clock import FLUSHED, median
from benchmarks.gpu.engine import LayerCopy, NetCopy, download
from benchmarks.gpu.sizes import Sizes
from benchmarks.torch_net import Step, TorchNet, arranged, translated

Tensor = torch.Tensor
FORMATS = {"": torch.contiguous_format, "channels_last": torch.channels_last}

FUSED = ("LRN",)
"""Layer types that are several kernels in PyTorch unless it compiles them; the others are one already."""


class Peer:
    """PyTorch's side of every comparison; all it does is on one stream of its own."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self.device = "cpu" if sizes.dry else "cuda"
        self.unavailable: dict[str, str] = {}
        """Modes that could not be run, with the first reason."""
        self._stream = None if sizes.dry else torch.cuda.Stream()
        self._flushed = torch.zeros(FLUSHED * sizes.l2 // 4, device=self.device)
        torch.backends.cudnn.benchmark = True
        torch._functorch.config.donated_buffer = False  # a graph is run backward again and again

    # ---- layers

    def layer(self, case: Case, copies: list[LayerCopy], way: str) -> dict[str, float]:
        """Milliseconds of one copy by mode: run in turn, all from one captured graph."""
        found = {}
        for mode, (memory_format, compiled) in self._layer_modes(case).items():
            with self._mode(mode):
                step = self._compiled_step(case) if compiled else None
                bodies = [self._layer_body(case, copy, way, FORMATS[memory_format], step) for copy in copies]
                found[mode] = self._replayed(bodies) / len(bodies)
        return found

    def layer_result(self, case: Case, copy: LayerCopy, way: str) -> Tensor:
        """What that way computes, in fp32."""
        set_precision("fp32")
        with self._on_stream():
            return self._layer_body(case, copy, way, torch.contiguous_format)()

    def difference(self, found: Any, expected: Tensor) -> float:
        """||found - expected|| / ||expected||, of an array on caffepy's device."""
        tensor = self.tensor(found)
        expected = expected.detach().reshape(tensor.shape)
        return float((tensor - expected).norm() / expected.norm().clamp_min(1e-30))

    def tensor(self, array: Any) -> Tensor:
        """An array on caffepy's device without a copy; with one from an emulated device."""
        return torch.from_numpy(download(array)) if self.sizes.dry else torch.from_dlpack(array)

    def _layer_modes(self, case: Case) -> dict[str, tuple[str, bool]]:
        """Each one's memory format, and whether it is compiled."""
        modes = {"graph": ("", False)}
        if len(case.bottoms[0]) == 4:
            modes["graph, channels_last"] = "channels_last", False
        if self.sizes.compiler and case.type in FUSED:
            modes["graph, compiled"] = "", True
        return modes

    def _compiled_step(self, case: Case) -> Step:
        """Of a layer without weights; compiled once for all copies."""
        torch._dynamo.reset()
        return torch.compile(translated(case.param, []), dynamic=False, backend=self.sizes.compiler)

    def _layer_body(
        self, case: Case, copy: LayerCopy, way: str, memory_format: torch.memory_format, step: Step | None = None
    ) -> Callable[[], Any]:
        def tensors(arrays: Any, differentiable: bool) -> list[Tensor]:
            found = [arranged(self.tensor(array), memory_format).detach() for array in arrays]
            return [tensor.requires_grad_(differentiable) for tensor in found]

        bottoms = tensors((blob.gpu_data for blob in copy.bottom), way == "backward")
        weights = tensors((blob.gpu_data for blob in copy.layer.blobs), way in ("weights", "bias"))
        step = step or (torch.relu if case.type == "ReLU" else translated(case.param, weights))
        if way == "forward":
            return lambda: step(*bottoms)
        top = step(*bottoms)
        (diff,) = tensors([copy.top[0].gpu_diff], False)
        diff = diff.reshape(top.shape)
        wanted = {"backward": bottoms, "weights": weights[:1], "bias": weights[1:]}[way]
        return lambda: torch.autograd.grad(top, wanted, diff, retain_graph=True)[0]

    # ---- nets

    def net(self, copy: NetCopy, template: caffepy.Net, what: str) -> dict[str, float]:
        """Milliseconds of a whole pass, "forward" or "gradient", by mode."""
        found = {}
        for memory_format in FORMATS:
            data, diff = self.inputs(copy, FORMATS[memory_format])
            net = TorchNet(template, self.device, FORMATS[memory_format])
            for mode, body in self._net_bodies(net, data, diff, what, compiled=not memory_format).items():
                name = ", ".join(part for part in (mode, memory_format) if part)
                with self._mode(name):
                    found[name] = self._once(body, captured=mode == "graph")
        return found

    def net_gradient(self, copy: NetCopy, template: caffepy.Net) -> Tensor:
        """In fp32."""
        set_precision("fp32")
        with self._on_stream():
            return TorchNet(template, self.device).gradient(*self.inputs(copy))

    def inputs(
        self, copy: NetCopy, memory_format: torch.memory_format = torch.contiguous_format
    ) -> tuple[Tensor, Tensor]:
        """The data, and the diff of the output."""
        data = arranged(self.tensor(copy.net.blobs["data"].gpu_data), memory_format)
        return data, self.tensor(copy.diff)

    def _net_bodies(
        self, net: TorchNet, data: Tensor, diff: Tensor, what: str, compiled: bool
    ) -> dict[str, Callable[[], Any]]:
        """By mode; torch.compile chooses memory formats itself."""
        if what == "forward":
            run: Callable[[], Any] = lambda: net.forward(data)  # noqa: E731
        else:
            run = lambda: net.gradient(data, diff)  # noqa: E731
        bodies = {"eager": run, "graph": run}
        if self.sizes.compiler and compiled:
            bodies["compiled"] = self._compiled(net, data, diff, what)
        return bodies

    def _compiled(self, net: TorchNet, data: Tensor, diff: Tensor, what: str) -> Callable[[], Any]:
        torch._dynamo.reset()
        mode = None if self.sizes.dry else "reduce-overhead"
        forward = torch.compile(net.forward, dynamic=False, backend=self.sizes.compiler, mode=mode)
        leaf = data.detach().requires_grad_(what == "gradient")

        def run() -> Any:
            torch.compiler.cudagraph_mark_step_begin()
            top = forward(leaf)
            return top if what == "forward" else torch.autograd.grad(top, leaf, diff.reshape(top.shape))

        return run

    # ---- products

    def product(self) -> float:
        """Milliseconds of a square matrix product."""
        a, b = (torch.randn(self.sizes.product, self.sizes.product, device=self.device) for _ in range(2))
        return self._replayed([lambda: a @ b])

    def release(self) -> None:
        """Give back the memory held in reserve."""
        torch.cuda.empty_cache()

    # ---- time

    def _replayed(self, bodies: list[Callable[[], Any]]) -> float:
        def all_of_them() -> None:
            for body in bodies:
                body()

        with self._on_stream():
            return median(self._captured(all_of_them), self._elapsed, self.sizes, self._flush)

    def _once(self, body: Callable[[], Any], captured: bool) -> float:
        with self._on_stream():
            run = self._captured(body) if captured else body
            for _ in range(3):
                run()
            return median(run, self._elapsed, self.sizes, self._flush)

    def _flush(self) -> None:
        self._flushed.fill_(1.0)

    def _captured(self, body: Callable[[], Any]) -> Callable[[], Any]:
        for _ in range(2):
            body()
        if self._stream is None:
            return body
        self._stream.synchronize()
        graph = torch.cuda.CUDAGraph()  # torch.cuda.graph() would collect garbage each time
        graph.capture_begin()
        try:
            body()
        finally:
            graph.capture_end()
        return graph.replay

    def _elapsed(self, body: Callable[[], Any]) -> float:
        if self._stream is None:
            start = time.perf_counter()
            body()
            return 1e3 * (time.perf_counter() - start)
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        before.record()
        body()
        after.record()
        after.synchronize()
        return float(before.elapsed_time(after))

    @contextmanager
    def _on_stream(self) -> Iterator[None]:
        """All gradients off but those of tensors that ask for one; everything done when it ends."""
        if self._stream is None:
            yield
            return
        torch.cuda.synchronize()
        with torch.cuda.stream(self._stream):
            yield
        torch.cuda.synchronize()

    @contextmanager
    def _mode(self, name: str) -> Iterator[None]:
        """What fails in it leaves the mode out, with its reason."""
        try:
            with self._on_stream():
                yield
        except Exception as error:  # whatever torch, its compiler or the driver raise
            self.unavailable.setdefault(name, f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}")


def set_precision(precision: str) -> None:
    """TF32 in cuDNN and in cuBLAS for "tf32", off for any other."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
