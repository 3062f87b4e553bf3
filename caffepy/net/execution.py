"""Passes over a net's layers: shapes settled, layers run in segments, each of them replayed on a GPU."""

import itertools
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from caffepy import device, graph
from caffepy.blob import Access, Arrays, Blob, Rows, Shape, SyncedArray
from caffepy.errors import DeviceError, GraphError, StateError, UnknownLayerError, check_name, nearest
from caffepy.layer import Layer
from caffepy.net import plans
from caffepy.net.around import Callback, Callbacks, Ending, Turns
from caffepy.net.budget import Budget
from caffepy.net.replay import Replay
from caffepy.net.rows import clear_missing, counting
from caffepy.net.rules import ActiveRules, Rule, Step

DiffOf = Callable[[int], SyncedArray]
Extent = tuple[Shape, Rows | None]
"""A blob's whole shape, and who counts its rows."""


class Execution:
    """Layers and the blobs between them, by index as in the wiring."""

    def __init__(
        self,
        layers: list[Layer],
        wiring: graph.Wiring,
        blobs: list[Blob],
        loss_weights: list[list[float]],
    ) -> None:
        self.layers, self.wiring, self.blobs, self.loss_weights = layers, wiring, blobs, loss_weights
        self.callbacks = Callbacks()
        self.replay = Replay()
        self.budget = Budget()
        self._from: dict[int, frozenset[int]] = {}
        self.stale = self._behind(0)
        """Layers whose tops do not belong to the last forward pass."""
        self.rules: ActiveRules | None = None
        """What layers run backward by; None: their derivatives."""
        self.kept_by: Hashable = None
        """The rules for which the last forward pass kept bottoms."""
        self._begun, self._reshaped = [0] * (len(layers) + 1), [0] * len(layers)
        self.facts: list[plans.LayerFacts] = []
        self.turns: Turns | None = None
        """How blobs' data take turns in the same memory; None where every blob has its own."""
        self._settled_at = (-1, 0, 0)
        self._settled: list[tuple[list[Extent], list[Extent], int] | None] = [None] * len(layers)
        self._counting: set[int] = set()
        self._weighted: dict[tuple[int, int], tuple[SyncedArray, int, Shape]] = {}
        self._preparing = [i for i, layer in enumerate(layers) if type(layer).prepare is not Layer.prepare]
        self._verifying = [i for i, layer in enumerate(layers) if layer.verifies]
        self._known_segments: dict[tuple[range | tuple[int, ...], bool, bool], list[list[int]]] = {}
        self.losses = [
            (i, blobs[top])
            for i, weights in enumerate(loss_weights)
            for top, weight in zip(wiring.tops[i], weights, strict=True)
            if weight
        ]
        self._input_blobs = [blobs[wiring.blobs.index(name)] for name in wiring.inputs]

    def set_up(self, workspace: SyncedArray) -> None:
        """Set up every layer in turn, on the shapes that those before it give."""
        for i, layer in enumerate(self.layers):
            bottoms = [self.blobs[b] for b in self.wiring.bottoms[i]]
            layer.use_workspace(workspace)
            layer.setup([blob.shape for blob in bottoms])
            self.budget.check(i, layer, {})
            if layer.shares != "no":
                for top in self.wiring.tops[i]:
                    self.blobs[top].share_data(bottoms[0])
                    if layer.shares == "both":
                        self.blobs[top].share_diff(bottoms[0])
            self._settle(i)
        self.facts = [
            plans.LayerFacts(
                self.loss_weights[i],
                len(layer.blobs),
                [layer.differentiable(j) for j in range(len(layer.param.bottom))],
            )
            for i, layer in enumerate(self.layers)
        ]
        self._overwritten = plans.overwritten(
            self.wiring,
            lambda blob: self.blobs[blob].data_storage,
            [layer.shares == "no" for layer in self.layers],
        )
        self._counting = counting(self.layers, self.wiring)

    def layer_index(self, name: str) -> int:
        """The index of the first layer of that name; raises UnknownLayerError."""
        names = [layer.name for layer in self.layers]
        check_name(name, "layer", names)
        if name not in names:
            raise UnknownLayerError(f"this net has no layer {name!r}{nearest(name, names)}")
        return names.index(name)

    def _behind(self, i: int) -> frozenset[int]:
        """A layer and those behind it; made once, so that a settled pass takes the host as long for many as for few."""
        if i not in self._from:
            self._from[i] = frozenset(range(i, len(self.layers)))
        return self._from[i]

    # ---- shapes

    def settle(self, start: int, end: int) -> None:
        """Give the layers' tops their shapes and the layers their memory, if a blob was reshaped since."""
        if self._settled_at != (Blob.changes, start, end):
            for i in range(start, end + 1):
                self._settle(i)
            self._settled_at = Blob.changes, start, end

    def is_settled(self, i: int) -> bool:
        """Whether the layer's bottoms and tops have the shapes that it was given last."""
        return self._settled[i] == self._shapes(i)

    def counts_rows(self, i: int) -> bool:
        """Whether the layer, though the shapes of its tops depend on data, runs without the host now."""
        return i in self._counting and not isinstance(device.current(), device.Cpu)

    def on_host(self, i: int) -> bool:
        """Whether the layer's passes get NumPy arrays now."""
        return self.layers[i].host and not self.counts_rows(i)

    def _extents(self, blobs: Sequence[int]) -> list[Extent]:
        return [(self.blobs[blob].whole, self.blobs[blob].rows) for blob in blobs]

    def _shapes(self, i: int) -> tuple[list[Extent], list[Extent], int]:
        """The bottoms' and the tops', and how many weights there are: a file may bring a layer more of them."""
        bottoms, tops = self._extents(self.wiring.bottoms[i]), self._extents(self.wiring.tops[i])
        return bottoms, tops, len(self.layers[i].blobs)

    def _settle(self, i: int) -> None:
        tops = [self.blobs[t] for t in self.wiring.tops[i]]
        settled, now = self._settled[i], self._shapes(i)
        bottoms = now[0]
        if settled is None or (bottoms and settled != now):
            self._settled[i] = None
            self._reshape_tops(i, self.layers[i].reshape([shape for shape, _ in bottoms]))
        elif settled != now:  # tops that the caller shapes
            self._reshape_tops(i, [shape for shape, _ in now[1]])
        for j, weight in enumerate(self.loss_weights[i]):
            if weight:
                self._write_loss_weight(i, j, tops[j], weight)

    def _reshape_tops(self, i: int, shapes: Iterable[Shape], rows: Rows | None = None) -> None:
        """`rows` counts those of the tops; without, what counts a bottom's rows counts theirs."""
        self.replay.forget(i)
        self._reshaped[i] += 1
        shapes, bottoms = list(shapes), self._extents(self.wiring.bottoms[i])
        rows = rows or next((of_bottom for _, of_bottom in bottoms if of_bottom is not None), None)
        tops, shared = self.wiring.tops[i], {*self.wiring.bottoms[i]}
        if self.layers[i].shares != "no":
            shared.update(tops)
        own = {self.wiring.blobs[top]: shape for top, shape in zip(tops, shapes, strict=True) if top not in shared}
        self.budget.check(i, self.layers[i], own)
        for top, shape in zip(tops, shapes, strict=True):
            self.blobs[top].resize(tuple(shape), rows)
        self._settled[i] = bottoms, [(shape, rows) for shape in shapes], len(self.layers[i].blobs)

    def _resolve(self, i: int, end: int) -> None:
        """Let a dynamic layer look at its bottoms; layers below settle where its tops are new."""
        bottoms = [self.blobs[b] for b in self.wiring.bottoms[i]]
        self._take_shapes(i, end, self.layers[i].resolve([blob.arrays(host=True) for blob in bottoms]))

    def _make_room(self, i: int, end: int) -> None:
        """Let a layer that counts its rows have room for them; layers below settle where that is new."""
        if (room := self.layers[i].room()) is not None:
            axis, shapes = room
            self._take_shapes(i, end, shapes, Rows(axis, self.layers[i].state("rows", (1,), np.int32).storage))

    def _take_shapes(self, i: int, end: int, given: Iterable[Shape], rows: Rows | None = None) -> None:
        shapes = list(given)
        if [(shape, rows) for shape in shapes] != self._extents(self.wiring.tops[i]):
            self._reshape_tops(i, shapes, rows)
            self.settle(i, end)

    def _write_loss_weight(self, i: int, j: int, top: Blob, weight: float) -> None:
        top.diff_storage.array(top.whole_count)
        memory = top.diff_storage, top.diff_storage.generation, top.whole
        if self._weighted.get((i, j)) != memory:
            device.current().fill(top.diff_storage.array(top.whole_count, "overwrite"), weight)
            self._weighted[i, j] = memory

    # ---- passes

    def forward(self, start: int, end: int) -> None:
        """Run layers `start` to `end`, both included."""
        self.stale = self.stale | self._behind(start) if self.stale else self._behind(start)
        self._begun[start] += 1
        for blob in self._input_blobs:
            blob.data_storage.expect_writes()
        self.settle(start, end)
        if self.turns is not None:
            self.turns.settle(self)
            self.turns.check_start(self, start)
        for i in sorted(self._counting):
            if start <= i <= end and self.counts_rows(i):
                self._make_room(i, end)
        watched = self.callbacks.before_forward or self.callbacks.after_forward
        self.kept_by = None if self.rules is None else self.rules.forward_key

        def run_layer(i: int) -> None:
            if (shapes := self.forward_layer(i)) is not None:
                self._take_shapes(i, end, shapes)

        for segment in self._segments(range(start, end + 1), bool(watched)):
            if self.layers[segment[0]].dynamic and not self.counts_rows(segment[0]):
                self._resolve(segment[0], end)
            for i in self._preparing:
                if segment[0] <= i <= segment[-1]:
                    self.layers[i].prepare()
            self._run(
                ("forward", self.kept_by),
                segment,
                run_layer,
                self.callbacks.before_forward,
                self.callbacks.after_forward,
            )
        for i in self._verifying:
            if start <= i <= end:
                self.layers[i].verify()
        if self.stale is self._behind(start):
            self.stale = self._behind(end + 1)
        else:
            self.stale = self.stale - self._behind(start) | self.stale & self._behind(end + 1)

    def backward(
        self,
        propagate_down: Mapping[int, Sequence[bool]],
        what: Hashable = "backward",
        ending: Ending | None = None,
    ) -> None:
        """Run the backward of these layers, in this order, on the blobs' own diffs, to the bottoms that are said.

        `what` tells passes over the same layers apart that do different things. Then comes `ending`, captured with the
        last of them where that is possible.
        """
        self.budget.check_backward(self.layers)
        callbacks = self.callbacks.before_backward, self.callbacks.after_backward

        def layer_backward(i: int) -> None:
            self.backward_layer(i, propagate_down[i], lambda blob: self.blobs[blob].diff_storage)

        key = what, self.rules and self.rules.key
        clear_missing(self.blobs, self.wiring, propagate_down)
        segments = self._segments(tuple(propagate_down), any(callbacks))
        joined = ending if segments and not (any(callbacks) or self.on_host(segments[-1][0])) else None
        for segment in segments:
            self._run(key, segment, layer_backward, *callbacks, joined if segment is segments[-1] else None)
        if ending is not None and joined is None:
            self.run(ending)

    def run(self, ending: Ending) -> None:
        """Run it as a pass of its own."""
        ending.prepare()
        self.replay.run(ending.variant, (), ending.run)

    def _run(
        self,
        what: Hashable,
        segment: list[int],
        run_layer: Callable[[int], None],
        before: Iterable[Callback],
        after: Iterable[Callback],
        ending: Ending | None = None,
    ) -> None:
        def body() -> None:
            for i in segment:
                run_layer(i)
            if ending is not None:
                ending.run()

        for callback in before:
            callback(segment[0])
        stopping = any(map(bool, (before, after))) and self.turns is not None
        if self.on_host(segment[0]) or (stopping and isinstance(device.current(), device.Cpu)):
            body()  # values that outlive a captured pass on the CPU would need memory of their own
        else:
            key: tuple[object, ...] = (what, segment[0], segment[-1])
            if ending is not None:
                ending.prepare()
                key += ending.variant
            self.replay.run(key, segment, body)
        for callback in after:
            callback(segment[0])

    def _segments(self, layers: range | tuple[int, ...], watched: bool) -> list[list[int]]:
        """Layers that run without a stop: callbacks stop at each, host layers stand alone, dynamic ones come first."""
        key = layers, watched, isinstance(device.current(), device.Cpu)
        if key not in self._known_segments:
            segments: list[list[int]] = []
            for i in layers:
                alone = watched or self.on_host(i) or (bool(segments) and self.on_host(segments[-1][-1]))
                if not segments or alone or (self.layers[i].dynamic and not self.counts_rows(i)):
                    segments.append([])
                segments[-1].append(i)
            self._known_segments[key] = segments
        return self._known_segments[key]

    def loss(self, start: int, end: int) -> float:
        """The weighted sum of the losses among the layers' tops."""
        total = 0.0
        for i, blob in self.losses:
            if start <= i <= end:
                data, diff = (s.read_host(blob.count) for s in (blob.data_storage, blob.diff_storage))
                total += float(data @ diff)
        return total

    def renewed(self, layers: Iterable[int]) -> list[int]:
        """How often a forward pass has begun at each of the layers or before it, or its shapes have changed."""
        begun = list(itertools.accumulate(self._begun))
        return [begun[i] + self._reshaped[i] for i in layers]

    # ---- one layer

    def forward_layer(self, i: int) -> Sequence[Shape] | None:
        """One layer's forward."""
        layer = self.layers[i]
        if layer.shares != "no":
            return None
        bottoms = self.wiring.bottoms[i]
        top = [
            self.blobs[blob].arrays(("update" if blob in bottoms else "overwrite", "read"), host=self.on_host(i))
            for blob in self.wiring.tops[i]
        ]
        bottom = [self.blobs[blob].arrays(host=self.on_host(i)) for blob in bottoms]
        with _named(layer):
            if self.rules is not None and i in self.rules.keeping:
                self.rules.memory.keep(i, bottom[0])
            return layer.forward(bottom, top)

    def backward_layer(self, i: int, propagate_down: Sequence[bool], diff_of: DiffOf) -> None:
        """One layer's backward on the diffs that `diff_of` gives for a blob."""
        layer, on_host = self.layers[i], self.on_host(i)
        tops = [(self.blobs[blob], diff_of(blob)) for blob in self.wiring.tops[i]]
        bottoms = [(self.blobs[blob], diff_of(blob)) for blob in self.wiring.bottoms[i]]
        read = {diff for _, diff in tops}
        bottom: list[Arrays] = []
        for j, (blob, diff) in enumerate(bottoms):
            access: Access = "update" if diff in read else "overwrite"
            bottom.append(blob.arrays(("read", access), diff, host=on_host))
            if propagate_down[j] and not self.facts[i].differentiable[j]:
                device.current().fill(diff.array(blob.whole_count, "overwrite"), 0)
        if layer.shares != "both":
            wanted = [a and b for a, b in zip(propagate_down, self.facts[i].differentiable, strict=True)]
            top = [blob.arrays(("read", "read"), diff, host=on_host) for blob, diff in tops]
            rule = self._rule(i)
            with _named(layer):
                if rule is None or self.rules is None:
                    layer.backward(top, wanted, bottom)
                else:
                    rule.backward(Step(layer, i, top, wanted, bottom, self.rules.memory))

    def _rule(self, i: int) -> Rule | None:
        return None if self.rules is None else self.rules.rules.get(i)

    def check_kept(self) -> None:
        """Raise StateError unless the last forward pass kept what backward, and the rules in force, need."""
        if self.turns is not None:
            raise StateError('this net was built with memory="inference", which keeps nothing for backward passes')
        if self.rules is not None and self.rules.keeping and self.kept_by != self.rules.key:
            raise StateError("these rules need what forward keeps for them: run forward, too, inside net.rules(...)")

    def check_overwritten(self, i: int, propagate_down: Sequence[bool], *, weights: bool) -> None:
        """Raise GraphError if the layer's backward reads data that a layer behind it has overwritten.

        weights   whether it goes to the layer's weights, too
        """
        layer, rule = self.layers[i], self._rule(i)
        read = layer.reads if rule is None else rule.reads_of(layer)
        reads = {*(read if any(propagate_down) else ()), *(layer.param_reads if weights else ())}
        found = [self._overwritten.tops.get((i, j)) for j in range(len(layer.param.top)) if "top" in reads]
        found += [self._overwritten.bottoms.get((i, j)) for j in range(len(layer.param.bottom)) if "bottom" in reads]
        for by in found:
            if by is not None:
                raise GraphError(
                    f"layer {layer.name!r} ({layer.type}): backward needs data that layer {self.layers[by].name!r} "
                    f"({self.layers[by].type}) wrote over in place; give the top of {self.layers[by].name!r} a name of "
                    "its own"
                )


@contextmanager
def _named(layer: Layer) -> Iterator[None]:
    """Say in a DeviceError, such as of memory that is out, at which layer it was."""
    try:
        yield
    except DeviceError as error:
        raise DeviceError(f"layer {layer.name!r} ({layer.type}), top {', '.join(layer.param.top)}: {error}") from error
