"""A net that runs: layers wired, memory shared, passes forward and backward."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from types import TracebackType
from typing import Any, Self

import numpy as np

from caffepy import device, graph
from caffepy.blob import Blob, Floats, Shape, SyncedArray
from caffepy.errors import GraphError, UnknownBlobError, UnknownLayerError
from caffepy.layer import TYPES, Layer
from caffepy.net import weights as files
from caffepy.net.gradient import GradientPass, VersionName
from caffepy.net.lock import PassLock
from caffepy.net.replay import Replay
from caffepy.proto.caffe_pb2 import TEST, NetParameter, NetState, ParamSpec

log = logging.getLogger("caffepy")


class Net:
    """A net built from a prototxt, from a .caffemodel alone, or from a NetParameter.

    `weights` is a .caffemodel or .caffemodel.h5. `level` and `stages` choose layers by their include and exclude
    rules. Raises MissingFileError, ProtoError, GraphError, LayerError or WeightsError.
    """

    def __init__(
        self,
        model: str | PathLike[str] | NetParameter,
        phase: int = TEST,
        *,
        weights: str | PathLike[str] | None = None,
        level: int = 0,
        stages: Iterable[str] = (),
    ) -> None:
        definition, own_weights = files.read_definition(model)
        self.phase = phase
        state = NetState()
        state.CopyFrom(definition.state)
        state.MergeFrom(NetState(phase=phase, level=level, stage=stages))  # type: ignore[arg-type]
        self.param = graph.insert_splits(graph.filter_net(definition, state))
        self.layers: list[Layer] = [self._make(i) for i in range(len(self.param.layer))]
        self.wiring = graph.wire(self.param)
        self._all_blobs = [Blob() for _ in self.wiring.blobs]
        self._lock = PassLock()
        self._workspace = SyncedArray()
        self.replay = Replay()
        self._settled_at = (-1, 0, 0)
        self._settled: list[tuple[list[Shape], list[Shape]] | None] = [None] * len(self.layers)
        self._fresh = [False] * len(self.layers)
        self._weighted: dict[tuple[int, int], tuple[SyncedArray, int, Shape]] = {}
        self.loss_weights = [self._loss_weights_of(layer) for layer in self.layers]
        self._setup()
        self.param_owners = self._share_params()
        self.facts = [
            graph.LayerFacts(
                self.loss_weights[i],
                len(layer.blobs),
                [layer.differentiable(j) for j in range(len(layer.param.bottom))],
            )
            for i, layer in enumerate(self.layers)
        ]
        self.plan = graph.plan_backward(self.param, self.wiring, self.facts)
        for layer, params in zip(self.layers, self.plan.params, strict=True):
            layer.param_propagate_down = params
        self._overwritten = graph.overwritten(
            self.wiring,
            lambda blob: self._all_blobs[blob].data_storage,
            [layer.shares == "no" for layer in self.layers],
        )
        self._gradient = GradientPass(self)
        loaded = self._load(own_weights, weights)
        self._fill(loaded)
        log.info("net %r: %d layers, outputs %s", self.param.name, len(self.layers), ", ".join(self.outputs))

    # ---- names

    @property
    def layer_names(self) -> list[str]:
        """In order of execution, splits included."""
        return [layer.name for layer in self.layers]

    @property
    def inputs(self) -> list[str]:
        """The tops of Input layers."""
        return list(self.wiring.inputs)

    @property
    def outputs(self) -> list[str]:
        """The blobs that no layer consumes, in byte order of their names."""
        return list(self.wiring.outputs)

    def blob(self, name: str) -> Blob:
        """The blob of that name; raises UnknownBlobError."""
        if name not in self.wiring.blobs:
            raise UnknownBlobError(f"this net has no blob {name!r}{graph.nearest(name, self.wiring.blobs)}")
        return self._all_blobs[self.wiring.blobs.index(name)]

    def layer_index(self, name: str) -> int:
        """The index of the layer of that name; raises UnknownLayerError."""
        names = self.layer_names
        if name not in names:
            raise UnknownLayerError(f"this net has no layer {name!r}{graph.nearest(name, names)}")
        return names.index(name)

    # ---- passes

    def reshape(self) -> None:
        """Settle every layer's shapes and memory after a blob was reshaped; forward does so too."""
        with self._lock:
            self._settle_range(0, len(self.layers) - 1)

    def forward_from_to(self, start: int, end: int) -> float:
        """Run layers `start` to `end`, both included; the loss among them."""
        with self._lock:
            self._forward_range(start, end)
            return self._loss(start, end)

    def backward_from_to(self, start: int, end: int) -> set[graph.Version]:
        """Run layers `start` down to `end`, both included, as Caffe plans it; the versions whose diff was computed."""
        with self._lock:
            return self._backward_range(start, end)

    def gradient(
        self,
        diffs: Mapping[VersionName, Any],
        wrt: VersionName | Iterable[VersionName] | None = None,
        *,
        out: Mapping[VersionName, Floats] | None = None,
    ) -> dict[VersionName, Floats]:
        """The gradient of sum <diffs[b], b> with respect to each blob of `wrt` (default: the net's inputs).

        diffs   blob name, or (blob, layer) for the version of the blob that this layer wrote -> array that fits the
                blob's shape. A bare name means the blob's last version.
        wrt     a name, or a list of them (a tuple is one (blob, layer) name); a bare one means the version the blob's
                producer wrote, before layers that run in place on it.
        out     arrays to write into, by name, float32 and of the blob's shape; others are made.

        Only the layers between run. No Blob.diff and no weight gradient is touched, no loss_weight enters,
        `propagate_down: false` and `lr_mult: 0` do not block; zeros where there is no path. Raises StateError if the
        forward pass does not stand: it has not run that far, or an input was changed since.
        """
        with self._lock:
            return self._gradient.run(diffs, wrt, out or {})

    # ---- weights

    def copy_from(self, path: str | PathLike[str]) -> "files.WeightReport":
        """Load weights by layer name from a .caffemodel or .caffemodel.h5.

        Raises WeightsError, before anything is changed, where a layer's blobs do not fit.
        """
        with self._lock:
            return files.load(self, path)

    def share_with(self, other: "Net") -> None:
        """Take the weights' memory from `other`, by layer name, as Caffe's ShareTrainedLayersWith."""
        with self._lock:
            files.share(self, other)
            self.replay.clear()

    def save(self, path: str | PathLike[str], *, diffs: bool = False) -> None:
        """Write layers and weights; HDF5 (weights only) where the name ends in .h5."""
        with self._lock:
            files.save(self, path, diffs)

    # ---- life

    def close(self) -> None:
        """Give the memory back. Arrays already handed out stay valid; the net cannot run again."""
        if self._lock.closed:
            return
        with self._lock:
            self._lock.closed = True
            self._all_blobs, self.layers = [], []
            self._workspace, self._gradient, self.replay = SyncedArray(), GradientPass(self), Replay()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- building

    def _make(self, index: int) -> Layer:
        param = self.param.layer[index]
        if param.type not in TYPES:
            raise GraphError(
                f"layer {param.name!r}: unknown layer type {param.type!r}{graph.nearest(param.type, TYPES)}; "
                "caffepy.layer_type_list() names the types there are"
            )
        if not param.HasField("phase"):
            param.phase = self.phase  # type: ignore[assignment]
        cls = TYPES[param.type]
        if cls.is_loss:
            fewest = cls.tops[0] if isinstance(cls.tops, tuple) else cls.tops
            param.top.extend([graph.AUTOMATIC] * (fewest - len(param.top)))
        layer = cls(param, param.phase)
        for bottom, top in zip(param.bottom, param.top, strict=False):
            if bottom == top and not cls.in_place:
                raise layer.error(f"cannot run in place: give its top {top!r} another name")
        return layer

    @staticmethod
    def _loss_weights_of(layer: Layer) -> list[float]:
        given, tops = list(layer.param.loss_weight), len(layer.param.top)
        if given and len(given) != tops:
            raise layer.error(f"{len(given)} loss_weight for {tops} top(s); give none, or one for each")
        return given or [1.0 if layer.is_loss and j == 0 else 0.0 for j in range(tops)]

    def _setup(self) -> None:
        for i, layer in enumerate(self.layers):
            bottoms = [self._all_blobs[b] for b in self.wiring.bottoms[i]]
            layer.use_workspace(self._workspace)
            layer.setup([blob.shape for blob in bottoms])
            if layer.shares != "no":
                for top in self.wiring.tops[i]:
                    self._all_blobs[top].share_data(bottoms[0])
                    if layer.shares == "both":
                        self._all_blobs[top].share_diff(bottoms[0])
            self._settle(i)

    def _share_params(self) -> dict[tuple[int, int], tuple[int, int]]:
        owners = graph.param_owners(self.param.layer, [len(layer.blobs) for layer in self.layers])
        for (i, j), (owner, k) in owners.items():
            blob, source = self.layers[i].blobs[j], self.layers[owner].blobs[k]
            spec = graph.param_spec(self.param.layer[i], j)
            permissive = spec.share_mode == ParamSpec.PERMISSIVE
            if blob.count != source.count or (not permissive and blob.shape != source.shape):
                raise self.layers[i].error(
                    f"param {spec.name!r} has shape {blob.shape} here and {source.shape} in layer "
                    f"{self.layers[owner].name!r}; make them equal"
                    + ("" if permissive else ", or give share_mode: PERMISSIVE where only the counts are")
                )
            blob.share_data(source)
            blob.share_diff(source)
        return owners

    def _load(self, *sources: str | PathLike[str] | None) -> set[str]:
        return {name for source in sources if source is not None for name in files.load(self, source).loaded}

    def _fill(self, loaded: set[str]) -> None:
        for i, layer in enumerate(self.layers):
            for j in range(len(layer.blobs)):
                if layer.name not in loaded and (i, j) not in self.param_owners:
                    layer.fill(j)

    # ---- running, under the lock

    def _forward_range(self, start: int, end: int) -> None:
        self._fresh[start:] = [False] * (len(self.layers) - start)
        for name in self.wiring.inputs:
            self.blob(name).data_storage.expect_writes()
        self._settle_range(start, end)
        layers = self.layers[start : end + 1]
        for layer in layers:
            layer.prepare()
        self.replay.run(("forward", start, end), lambda: self._forward_layers(start, end))
        for layer in layers:
            if layer.verifies:
                layer.verify()
        self._fresh[start : end + 1] = [True] * len(layers)
        self._gradient.remember_inputs(start, end)

    def _loss(self, start: int, end: int) -> float:
        total = 0.0
        for i in range(start, end + 1):
            for top, weight in zip(self.wiring.tops[i], self.loss_weights[i], strict=True):
                if weight:
                    blob = self._all_blobs[top]
                    data, diff = (s.read_host(blob.count) for s in (blob.data_storage, blob.diff_storage))
                    total += float(np.vdot(data, diff))
        return total

    def _backward_range(self, start: int, end: int) -> set[graph.Version]:
        computed: set[graph.Version] = set()
        for i in range(start, end - 1, -1):
            if self.plan.layers[i]:
                self.check_overwritten(i, self.plan.bottoms[i])
                computed.update(s for s, p in zip(self.wiring.sources[i], self.plan.bottoms[i], strict=True) if p)
        self.replay.run(("backward", start, end), lambda: self._backward_layers(start, end))
        return computed

    def _backward_layers(self, start: int, end: int) -> None:
        for i in range(start, end - 1, -1):
            if self.plan.layers[i]:
                self.backward_layer(i, self.plan.bottoms[i], lambda blob: self._all_blobs[blob].diff_storage)

    def blob_at(self, index: int) -> Blob:
        """The blob by its index in the wiring."""
        return self._all_blobs[index]

    def is_fresh(self, layer: int) -> bool:
        """Whether what the layer wrote belongs to the last forward pass."""
        return self._fresh[layer]

    def _settle_range(self, start: int, end: int) -> None:
        if self._settled_at != (Blob.changes, start, end):
            for i in range(start, end + 1):
                self._settle(i)
            self._settled_at = Blob.changes, start, end

    def _settle(self, i: int) -> None:
        bottoms = [self._all_blobs[b].shape for b in self.wiring.bottoms[i]]
        tops = [self._all_blobs[t] for t in self.wiring.tops[i]]
        settled = self._settled[i]
        if settled is None or (bottoms and settled != (bottoms, [top.shape for top in tops])):
            self._settled[i] = None
            self.replay.clear()
            shapes = list(self.layers[i].reshape(bottoms))
            for top, shape in zip(tops, shapes, strict=True):
                top.reshape(shape)
            self._settled[i] = bottoms, shapes
        for j, weight in enumerate(self.loss_weights[i]):
            if weight:
                self._write_loss_weight(i, j, tops[j], weight)

    def _write_loss_weight(self, i: int, j: int, top: Blob, weight: float) -> None:
        top.diff_storage.array(top.count)
        memory = top.diff_storage, top.diff_storage.generation, top.shape
        if self._weighted.get((i, j)) != memory:
            device.current().fill(top.diff_storage.array(top.count, "overwrite"), weight)
            self._weighted[i, j] = memory

    def _forward_layers(self, start: int, end: int) -> None:
        for i in range(start, end + 1):
            if self.layers[i].shares == "no":
                bottoms = self.wiring.bottoms[i]
                top = [
                    self._all_blobs[blob].arrays(("update" if blob in bottoms else "overwrite", "read"))
                    for blob in self.wiring.tops[i]
                ]
                self.layers[i].forward([self._all_blobs[blob].arrays() for blob in bottoms], top)

    def backward_layer(self, i: int, propagate_down: Sequence[bool], diff_of: Callable[[int], SyncedArray]) -> None:
        """One layer's backward on the diffs that `diff_of` gives for a blob."""
        layer = self.layers[i]
        tops = [(self._all_blobs[blob], diff_of(blob)) for blob in self.wiring.tops[i]]
        bottoms = [(self._all_blobs[blob], diff_of(blob)) for blob in self.wiring.bottoms[i]]
        read = {diff for _, diff in tops}
        bottom = [blob.arrays(("read", "update" if diff in read else "overwrite"), diff) for blob, diff in bottoms]
        for j, arrays in enumerate(bottom):
            if propagate_down[j] and not self.facts[i].differentiable[j]:
                device.current().fill(arrays.diff, 0)
        if layer.shares != "both":
            wanted = [a and b for a, b in zip(propagate_down, self.facts[i].differentiable, strict=True)]
            layer.backward([blob.arrays(("read", "read"), diff) for blob, diff in tops], wanted, bottom)

    def check_overwritten(self, i: int, propagate_down: Sequence[bool]) -> None:
        """Raise GraphError if the layer's backward reads data that a layer behind it has overwritten."""
        layer = self.layers[i]
        reads = {
            *(layer.reads if any(propagate_down) else ()),
            *(layer.param_reads if any(layer.param_propagate_down) else ()),
        }
        found = [self._overwritten.tops.get((i, j)) for j in range(len(layer.param.top)) if "top" in reads]
        found += [self._overwritten.bottoms.get((i, j)) for j in range(len(layer.param.bottom)) if "bottom" in reads]
        for by in found:
            if by is not None:
                raise GraphError(
                    f"layer {layer.name!r} ({layer.type}): backward needs data that layer {self.layers[by].name!r} "
                    f"({self.layers[by].type}) wrote over in place; give the top of {self.layers[by].name!r} a name of "
                    "its own"
                )
