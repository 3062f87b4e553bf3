"""A net that runs: layers wired, memory shared, passes forward and backward."""

import logging
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from caffepy import graph
from caffepy.blob import Blob, Floats, SyncedArray
from caffepy.device import Cpu, Device, current, named, pinned
from caffepy.errors import GraphError, StateError, nearest, visible
from caffepy.kernels.tuning import Measured, measuring
from caffepy.layer import TYPES, Layer
from caffepy.limits import Limits
from caffepy.net import plans, sharing
from caffepy.net import weights as files
from caffepy.net.around import Callbacks, Ending
from caffepy.net.execution import Execution
from caffepy.net.gradient import GradientPass, VersionName
from caffepy.net.lock import PassLock
from caffepy.net.param_diffs import ParamDiffs
from caffepy.net.receptive_field import crops_by_guess
from caffepy.net.rules import ActiveRules, RuleSet
from caffepy.proto.caffe_pb2 import TEST, NetParameter, NetState, ParamSpec

if TYPE_CHECKING:  # what shows a net is imported where it is shown
    from caffepy.net.profile import Profile
    from caffepy.net.table import Table

log = logging.getLogger("caffepy")


class Net:
    """A net built from a prototxt, from a .caffemodel alone, or from a NetParameter.

    `weights` is a .caffemodel or .caffemodel.h5. `level` and `stages` choose layers by their include and exclude
    rules. `device` pins the net to a GPU, by its number, or to the "cpu", whatever the mode is.
    `limits` says what the model may do beyond computing, such as importing Python layers' modules, which is code that
    building the net runs, and how much memory it may take: a net that needs more is refused before it takes any.
    With memory="inference" blobs take turns in the same memory, but inputs, outputs and those that `keep` names: what
    the others hold is gone when forward has ended, so asking for it raises StateError, as do backward and gradient.
    Raises MissingFileError, NotAllowedError, ProtoError, GraphError, LayerError, WeightsError or DeviceError.
    """

    _param_diffs_wait: ClassVar[bool] = False
    """Whether backward leaves weight gradients for later in phase TEST."""

    def __init__(
        self,
        model: files.Path | NetParameter,
        phase: int = TEST,
        *,
        weights: files.Path | None = None,
        level: int = 0,
        stages: Iterable[str] = (),
        device: int | str | None = None,
        limits: Limits | None = None,
        memory: str = "full",
        keep: Iterable[str] = (),
    ) -> None:
        self.phase = phase
        self._lock = PassLock(named(device), limits or Limits())
        self.labels: Sequence[str] | None = None
        """The names of the classes, by index, for whoever shows them."""
        self.preprocess: Any = None
        """How pictures become the input: a caffepy.saliency.Preprocess or an io.Transformer."""
        with self._lock, files.open_definition(model) as own:
            state = NetState()
            state.CopyFrom(own.net.state)
            state.MergeFrom(NetState(phase=phase, level=level, stage=stages))  # type: ignore[arg-type]
            self.param = graph.insert_splits(files.settled(graph.filter_net(own.net, state), phase))
            self._build(takes_turns=memory == "inference")
            self.execution.turns = sharing.turns(self.execution, memory, keep)
            loaded = files.take_own(self.execution.layers, self.param_owners, own, state)
            if weights is not None:
                loaded |= files.load(self.execution.layers, self.param_owners, weights, fresh=True).indices
            self._fill(loaded)
        if crops := crops_by_guess(self.execution):
            log.warning(
                "Crop without crop_param cuts at 0, as in BVLC Caffe; old Caffe cut where pixels coincide, which is at "
                "%s: write crop_param { axis: 2 offset: ... } for that",
                ", ".join(crops),
            )
        outputs = visible(", ".join(self.outputs))
        log.info("net %r: %d layers, outputs %s", self.param.name, len(self.execution.layers), outputs)

    def _build(self, *, takes_turns: bool) -> None:
        layers = [self._make(i) for i in range(len(self.param.layer))]
        self.wiring = graph.wire(self.param)
        self.loss_weights = [self._loss_weights_of(layer) for layer in layers]
        blobs = [Blob() for _ in self.wiring.blobs]
        self.execution = Execution(layers, self.wiring, blobs, self.loss_weights)
        self.execution.budget.turns = 0 if takes_turns else None  # what they are is known at the end
        self.execution.set_up(SyncedArray())
        self.param_owners = self._share_params()
        self.plan = plans.plan_backward(self.param, self.wiring, self.execution.facts)
        for layer, params in zip(layers, self.plan.params, strict=True):
            layer.param_propagate_down = params
        self._backward_steps: dict[tuple[Hashable, int, int], tuple[dict[int, list[bool]], set[graph.Version]]] = {}
        self._gradient = GradientPass(self.execution)
        self._rules: dict[RuleSet, ActiveRules] = {}
        self.param_diffs = ParamDiffs(
            self.execution, self._lock, may_wait=self._param_diffs_wait and self.phase == TEST
        )

    # ---- names

    @property
    def layer_names(self) -> list[str]:
        """In order of execution, splits included."""
        return [layer.name for layer in self.execution.layers]

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
        return self.execution.blobs[self.blob_index(name)]

    def blob_index(self, name: str) -> int:
        """The index in the wiring of the blob of that name; raises UnknownBlobError."""
        return self.wiring.index(name)

    def layer_index(self, name: str) -> int:
        """The index of the layer of that name; raises UnknownLayerError."""
        return self.execution.layer_index(name)

    @property
    def callbacks(self) -> Callbacks:
        """Functions to be called with a layer's index before or after its passes; add to its lists."""
        return self.execution.callbacks

    @property
    def limits(self) -> Limits:
        """What the model may do, as it was built with."""
        return self._lock.limits

    # ---- passes

    def reshape(self) -> None:
        """Settle every layer's shapes and memory after a blob was reshaped; forward does so too."""
        with self._lock:
            self.execution.settle(0, len(self.execution.layers) - 1)
            if self.execution.turns is not None:
                self.execution.turns.settle(self.execution)

    def forward_from_to(self, start: int, end: int) -> float:
        """Run layers `start` to `end`, both included; the loss among them."""
        with self._lock:
            self._forward_range(start, end)
            return self.execution.loss(start, end)

    def backward_from_to(self, start: int, end: int, ending: Ending | None = None) -> set[graph.Version]:
        """Run layers `start` down to `end`, both included, as Caffe plans it; the versions whose diff was computed.

        `ending` runs behind them: on a GPU both are captured as one.
        """
        with self._lock:
            return self._backward_range(start, end, ending)

    def run(self, ending: Ending) -> None:
        """Run operations of the caller's on this net's device, captured as a pass of their own."""
        with self._lock:
            self.execution.run(ending)

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

    @contextmanager
    def rules(self, rules: RuleSet) -> Iterator[None]:
        """Meanwhile, layers run backward by these rules and not by their derivatives; see caffepy.rules.

        `backward` and `gradient` obey them, in place or in shared memory as well; weights of layers with a rule get no
        gradient. Rules that need data which in-place layers write over have forward keep it: run forward inside, too.
        """
        if rules not in self._rules:
            layers = self.execution.layers
            self._rules[rules] = ActiveRules(rules, layers, rules.choose(layers, self.wiring))
        before, self.execution.rules = self.execution.rules, self._rules[rules]
        try:
            yield
        finally:
            self.execution.rules = before

    @contextmanager
    def running(self) -> Iterator[Device]:
        """Meanwhile, this thread computes on the device that the net runs on."""
        with pinned(self._lock.pinned):
            yield current()

    def profile(self, times: int = 20, *, dry: bool = False) -> "Profile":
        """What each layer costs, forward and backward to its bottoms, after a forward pass on the inputs as they are.

        times   runs of each layer; on a GPU one after the other from a captured graph, between two events, so that
                what fits into its cache is found there; on the CPU the median of them
        dry     measure nothing: operations, bytes and launches, and the time that they take an H200 at least
        """
        from caffepy.net.profile import measure

        with self._lock:
            return measure(self.execution, times, dry=dry)

    def tune(self) -> list[Measured]:
        """Try every way to launch the products of a forward pass and of a gradient, and remember the fastest on disk.

        Takes seconds to minutes; later runs on the same kind of GPU use what was found. What is returned tells it.
        Raises StateError in CPU mode.
        """
        with self._lock:
            if isinstance(current(), Cpu):
                raise StateError("tune measures on a GPU: call set_mode_gpu() first")
            self.execution.replay.clear()
            with measuring() as measured:
                self._forward_range(0, len(self.execution.layers) - 1)
                self._gradient.run(dict.fromkeys(self.outputs, 1.0), None, {})
            self.execution.replay.clear()
        return measured

    # ---- weights

    def copy_from(self, path: files.Path) -> "files.WeightReport":
        """Load weights by layer name from a .caffemodel or .caffemodel.h5.

        Raises WeightsError where a layer's blobs do not fit, ProtoError where the file is damaged; the net is then as
        it was: all is read before anything is replaced.
        """
        with self._lock:
            return files.load(self.execution.layers, self.param_owners, path)

    def share_with(self, other: "Net") -> None:
        """Take the weights' memory from `other`, by layer name, as Caffe's ShareTrainedLayersWith."""
        with self._lock:
            if files.share(self.execution.layers, other.execution.layers):
                self.execution.replay.clear()

    def save(self, path: files.Path, *, diffs: bool = False) -> None:
        """Write layers and weights; HDF5 (weights only) where the name ends in .h5."""
        self._save(path, diffs)

    def _save(self, path: files.Path, diffs: bool, *, hdf5: bool | None = None) -> None:
        with self._lock:
            if diffs:
                self.param_diffs.settle()
            files.save(self.param, self.execution.layers, self.param_owners, path, diffs, hdf5=hdf5)

    # ---- what it looks like

    def table(self) -> "Table":
        """The layers as rows, at the shapes they have now. Nothing is computed and no memory taken."""
        from caffepy.net.table import table

        return table(self.param.name, self.phase, self.execution, self.param_owners)

    def __repr__(self) -> str:
        if not self.execution.layers:
            return f"net {self.param.name!r}: " + ("closed" if self.param.layer else "no layers")
        from caffepy.net.table import text

        return text(self.table())

    def _repr_html_(self) -> str:
        """For notebooks."""
        from caffepy.net.table import html, html_line

        return html(self.table()) if self.execution.layers else html_line(repr(self))

    # ---- life

    def close(self) -> None:
        """Give the memory back. Arrays already handed out stay valid; the net cannot run again."""
        if self._lock.closed:
            return
        with self._lock:
            self._lock.closed = True
            self.execution.replay.clear()
            self.execution = Execution([], graph.wire(NetParameter()), [], [])
            self._rules.clear()
            self._gradient = GradientPass(self.execution)
            self.param_diffs = ParamDiffs(self.execution, self._lock, may_wait=False)

    @property
    def closed(self) -> bool:
        """Whether the memory has been given back."""
        return self._lock.closed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # ---- building

    def _make(self, index: int) -> Layer:
        param = self.param.layer[index]
        if param.type not in TYPES:
            raise GraphError(
                f"layer {param.name!r}: unknown layer type {param.type!r}{nearest(param.type, TYPES)}; "
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

    def _share_params(self) -> dict[tuple[int, int], tuple[int, int]]:
        owners = graph.param_owners(self.param.layer, [len(layer.blobs) for layer in self.execution.layers])
        for (i, j), (owner, k) in owners.items():
            blob, source = self.execution.layers[i].blobs[j], self.execution.layers[owner].blobs[k]
            spec = graph.param_spec(self.param.layer[i], j)
            permissive = spec.share_mode == ParamSpec.PERMISSIVE
            if blob.count != source.count or (not permissive and blob.shape != source.shape):
                raise self.execution.layers[i].error(
                    f"param {spec.name!r} has shape {blob.shape} here and {source.shape} in layer "
                    f"{self.execution.layers[owner].name!r}; make them equal"
                    + ("" if permissive else ", or give share_mode: PERMISSIVE where only the counts are")
                )
            blob.share_data(source)
            blob.share_diff(source)
        return owners

    def _fill(self, loaded: set[int]) -> None:
        for i, layer in enumerate(self.execution.layers):
            for j, blob in enumerate(layer.blobs):
                if i in loaded:
                    continue
                if (i, j) in self.param_owners:  # Caffe draws for it all the same
                    layer.fillers[j].fill(np.empty(blob.shape, np.float32))
                else:
                    layer.fill(j)

    # ---- running, under the lock

    def _forward_range(self, start: int, end: int) -> None:
        self.execution.forward(start, end)
        if self.execution.turns is None:  # else no gradient follows
            self._gradient.remember_inputs(start, end)

    def _backward_range(self, start: int, end: int, ending: Ending | None = None) -> set[graph.Version]:
        self.execution.check_kept()
        rules = self.execution.rules
        key = rules and rules.key, start, end
        if key not in self._backward_steps:
            steps = [(i, self.plan.bottoms[i]) for i in range(start, end - 1, -1) if self.plan.layers[i]]
            computed: set[graph.Version] = set()
            for i, propagate_down in steps:
                weights = any(self.execution.layers[i].param_propagate_down)
                self.execution.check_overwritten(i, propagate_down, weights=weights)
                computed.update(s for s, p in zip(self.wiring.sources[i], propagate_down, strict=True) if p)
            self._backward_steps[key] = dict(steps), computed
        steps_of, computed_by = self._backward_steps[key]
        self.param_diffs.run(steps_of, ending)
        return computed_by
