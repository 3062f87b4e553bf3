"""Everything in turn: the ceilings, the layers, the nets."""

import functools
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

import caffepy.kernels.precision
from benchmarks.gpu import cases, clock, engine
from benchmarks.gpu.cases import Case
from benchmarks.gpu.command import PARTS
from benchmarks.gpu.engine import LayerCopy, NetCopy, Stream, gpu
from benchmarks.gpu.sizes import Sizes
from benchmarks.runs import build
from caffepy.blob import SyncedArray
from caffepy.errors import CaffeError
from caffepy.kernels import compile_ahead
from caffepy.kernels.tuning import measuring
from caffepy.layers.common.inner_product import inner_product_forward
from caffepy.layers.common.inner_product_plan import workspace_count

if TYPE_CHECKING:
    from benchmarks.gpu.peer import Peer

Result = dict[str, Any]
TOLERANCES = {"layers": {"fp32": 1e-4, "tf32": 5e-3}, "nets": {"fp32": 2e-2, "tf32": 0.2}}
"""||found - expected|| / ||expected|| that is no mistake. In a net the rounding of one maximum decides where its diff
goes, so that gradients of nets differ by more than their layers'."""

FREE = ("Concat", "Eltwise")
"""Types whose backward pass is views in PyTorch, and no kernel."""


class Suite:
    """One run; `result` grows while it goes on, `tell` gets a line for each thing measured."""

    def __init__(
        self, sizes: Sizes, tell: Callable[[str], None], *, tune: bool = False, deadline: float = float("inf")
    ) -> None:
        self.sizes, self.tell, self.tune, self.stream = sizes, tell, tune, Stream(sizes)
        self._deadline = deadline  # by time.monotonic()
        self.peer: Peer | None
        self.peer, why_not = _peer(sizes)
        self.result: Result = {
            "dry": sizes.dry,
            "peer": why_not or "PyTorch",
            "tuned": tune,
            "precisions": engine.precisions(),
            "l2": sizes.l2,
            "saliency_net": sizes.saliency_net,
            **{part: {} if part == "ceilings" else [] for part in PARTS},
            "failed": [],
            "left out": [],
        }
        self.result["unavailable"] = self.peer.unavailable if self.peer else {}

    def run(self, parts: Iterable[str]) -> Iterator[None]:
        """Measure PARTS; `result` is worth keeping each time that this yields."""
        for part in parts:
            yield from getattr(self, f"_{part}")()

    # ---- ceilings

    def _ceilings(self) -> Iterator[None]:
        """Copies of several sizes; a large matrix product in each precision, caffepy's and cuBLAS's."""
        found = self.result["ceilings"]
        found["copy"] = {str(nbytes): self._copy(nbytes) for nbytes in self.sizes.copies}
        n = self.sizes.product
        found["product"] = {}
        for precision in self.result["precisions"]:
            with self._precision(precision):
                found["product"][f"caffepy {precision}"] = 2e-9 * n**3 / self._product(n)
        if self.peer:
            for precision in ("fp32", "tf32"):
                self._set_peers_precision(precision)
                found["product"][f"cuBLAS {precision}"] = 2e-9 * n**3 / self.peer.product()
        self.tell(f"ceilings: {found}")
        self._release()
        yield

    def _copy(self, nbytes: int) -> float:
        """GB/s, read and written."""
        pairs = [
            tuple(gpu().zeros(nbytes // 4, np.float32) for _ in range(2))
            for _ in range(clock.copies(2 * nbytes, self.sizes))
        ]
        for source, _ in pairs:
            engine.make_noise(source)
        milliseconds = self.stream.replayed([lambda pair=pair: gpu().copy(*pair) for pair in pairs])  # type: ignore[misc]
        return 2e-6 * nbytes / milliseconds

    def _product(self, n: int) -> float:
        bottom, weight, top = (gpu().zeros(n * n, np.float32).reshape(n, n) for _ in range(3))
        for array in (bottom, weight):
            engine.make_noise(array)
        workspace = gpu().zeros(workspace_count(n, n, n), np.float32)

        def product() -> None:
            inner_product_forward(bottom, weight, None, workspace, top, transpose=False)

        return self.stream.replayed([product])

    # ---- layers

    def _layers(self) -> Iterator[None]:
        """Every distinct layer, each way, in each precision that it can tell apart."""
        for batch in self.sizes.batches:
            if self._is_late(f"layers, batch {batch}"):
                continue
            for case in cases.of_nets(self.sizes.nets, batch):
                if self._is_late(f"{case}, batch {batch}"):
                    continue
                with self._going_on(f"{case}, batch {batch}"):
                    self._layer(case)
                self._release()
                yield

    def _layer(self, case: Case) -> None:
        workspace = SyncedArray()
        copies = [LayerCopy(case, workspace) for _ in range(clock.copies(case.nbytes, self.sizes))]
        gpu().synchronize()
        for precision in self.result["precisions"]:
            ways = [way for way in case.ways if precision == "fp32" or case.is_product(way)]
            with self._precision(precision):
                compile_ahead(functools.partial(copies[0].run_all, ways))
                for way in ways:
                    self._way(case, copies, way, precision)

    def _way(self, case: Case, copies: list[LayerCopy], way: str, precision: str) -> None:
        found: Result = {"layer": str(case), "type": case.type, "nets": case.nets, "batch": case.batch}
        found |= {"way": way, "precision": precision}
        found["flops"], found["bytes"] = copies[0].work(way)
        if self.tune:
            with measuring():
                copies[0].run(way)
        self._check(found, "layers", lambda: self._layer_difference(case, copies[0], way))
        found["caffepy"] = self.stream.replayed([functools.partial(copy.run, way) for copy in copies])
        if self.peer and not (case.type in FREE and way == "backward"):
            self._compare(found, self.peer.layer(case, copies, way))
        self.result["layers"].append(found)
        self.tell(_line(found, str(case), way))

    def _layer_difference(self, case: Case, copy: LayerCopy, way: str) -> float:
        assert self.peer is not None
        result = copy.result(way)
        gpu().synchronize()
        return self.peer.difference(result, self.peer.layer_result(case, copy, way))

    # ---- nets

    def _nets(self) -> Iterator[None]:
        """Whole nets, forward and forward + gradient; and what the host needs for the latter. Small batches first."""
        templates: dict[str, caffepy.Net] = {}
        for precision, batch, name in itertools.product(self.result["precisions"], self.sizes.batches, self.sizes.nets):
            if self._is_late(f"{name}, batch {batch}, {precision}"):
                continue
            definition = self.sizes.nets[name]
            with self._going_on(f"{name}, batch {batch}, {precision}"), self._precision(precision):
                if name not in templates:
                    templates[name] = build(definition(1))
                copy = NetCopy(definition(batch), templates[name])
                if self.tune:
                    with measuring():
                        copy.gradient()
                for what in ("forward", "gradient"):
                    self._pass(name, batch, precision, what, copy, templates[name])
                copy.net.close()
            self._release()
            yield
        for template in templates.values():
            template.close()

    def _pass(self, name: str, batch: int, precision: str, what: str, copy: NetCopy, template: caffepy.Net) -> None:
        found: Result = {"net": name, "batch": batch, "what": what, "precision": precision}
        found["weights"] = sum(4 * blob.count for blobs in copy.net.params.values() for blob in blobs)
        if what == "gradient":
            self._check(found, "nets", lambda: self._net_difference(copy, template))
        found["caffepy"] = self.stream.once(getattr(copy, what))
        if what == "gradient":
            found["host"] = self.stream.host(copy.gradient)
        if self.peer:
            self._compare(found, self.peer.net(copy, template, what))
        self.result["nets"].append(found)
        self.tell(_line(found, name, what))

    def _net_difference(self, copy: NetCopy, template: caffepy.Net) -> float:
        assert self.peer is not None
        copy.gradient()
        gpu().synchronize()
        return self.peer.difference(copy.gradients, self.peer.net_gradient(copy, template))

    # ---- common

    def _check(self, found: Result, part: str, difference: Callable[[], float]) -> None:
        """caffepy in its precision against PyTorch in fp32, before anything is timed."""
        if not self.peer:
            return
        found["difference"] = difference()
        tolerance = TOLERANCES[part].get(found["precision"], TOLERANCES[part]["fp32"])
        if not found["difference"] <= tolerance:  # NaN is none
            found["wrong"] = True
            what = ", ".join(str(value) for value in list(found.values())[:6])
            self.result["failed"].append(f"{what}: differs by {found['difference']:.1e}, allowed are {tolerance:.0e}")
        self._set_peers_precision(found["precision"])

    @staticmethod
    def _compare(found: Result, modes: dict[str, float]) -> None:
        """With the fastest of PyTorch's modes; a wrong result with none."""
        found["modes"] = modes
        if modes and "wrong" not in found:
            found["mode"] = min(modes, key=modes.__getitem__)
            found["torch"] = modes[found["mode"]]
            found["speedup"] = found["torch"] / found["caffepy"]

    @contextmanager
    def _precision(self, precision: str) -> Iterator[None]:
        """Of both sides."""
        caffepy.kernels.precision.set_precision(precision)
        self._set_peers_precision(precision)
        try:
            yield
        finally:
            caffepy.kernels.precision.set_precision("fp32")

    def _set_peers_precision(self, precision: str) -> None:
        if self.peer:
            from benchmarks.gpu.peer import set_precision

            set_precision(precision)

    def _is_late(self, what: str) -> bool:
        """Whether there is no time left for it, which is noted then."""
        if time.monotonic() < self._deadline:
            return False
        self.result["left out"].append(what)
        return True

    @contextmanager
    def _going_on(self, what: str) -> Iterator[None]:
        """What fails in it (no memory, a kernel that does not compile) is told, and the run goes on."""
        try:
            yield
        except (CaffeError, RuntimeError, MemoryError) as error:
            self.result["failed"].append(f"{what}: {error}")
            self.tell(f"FAILED: {self.result['failed'][-1]}")

    def _release(self) -> None:
        """Give back what CuPy and PyTorch hold in reserve, each for itself."""
        if not self.sizes.dry:
            import cupy

            cupy.get_default_memory_pool().free_all_blocks()
            if self.peer:
                self.peer.release()


def _peer(sizes: Sizes) -> "tuple[Peer, None] | tuple[None, str]":
    """PyTorch's side, or why there is none."""
    if find_spec("torch") is None:
        return None, "PyTorch is not installed"
    import torch

    from benchmarks.gpu.peer import Peer

    if not sizes.dry and not torch.cuda.is_available():
        return None, f"PyTorch {torch.__version__} is built without CUDA"
    return Peer(sizes), None


def _line(found: Result, name: str, what: str) -> str:
    torch = f"  PyTorch {found['torch']:9.4f}  {found['speedup']:5.2f}x  ({found['mode']})" if "torch" in found else ""
    return f"{name:50} {found['batch']:4} {what:9} {found['precision']:6} {found['caffepy']:9.4f} ms{torch}"
