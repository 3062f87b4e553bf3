"""What a net's layers take and have to do, added up from shapes before any of it is taken or done."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from caffepy.blob import Shape
from caffepy.layer import Layer
from caffepy.limits import given_memory, memory_left, most_work, shown, too_much, too_much_work


class _Counts(NamedTuple):
    """Bytes of weights, of memory of a layer's own and of its tops, and work."""

    weights: int
    own: int
    tops: int
    work: int

    @property
    def bytes(self) -> int:
        """Of a forward pass."""
        return self.weights + self.own + self.tops

    @property
    def diffs(self) -> int:
        """Bytes that its backward pass adds."""
        return self.weights + self.tops


class Budget:
    """Bytes of data, weights, layers' own memory and scratch memory, and of the diffs that backward passes add."""

    def __init__(self) -> None:
        self._layers: dict[int, _Counts] = {}
        self._sums = _Counts(0, 0, 0, 0)
        self._workspace = 0
        self._left, self._fits = memory_left(), False
        self.turns: int | None = None
        """Bytes of all tops' data where they take turns in the same memory; None where each has its own."""

    @property
    def total(self) -> int:
        """Bytes of a forward pass through all layers."""
        return self.with_tops(self._sums.tops if self.turns is None else self.turns)

    def with_tops(self, size: int) -> int:
        """Bytes of a forward pass where all tops' data take so many."""
        return self._sums.weights + self._sums.own + self._workspace + size

    @property
    def diffs(self) -> int:
        """Bytes that a backward pass adds to that, at most."""
        return self._sums.weights + self._sums.tops

    @property
    def work(self) -> int:
        """Of a forward pass through all layers, see limits.Limits."""
        return self._sums.work

    def check(self, i: int, layer: Layer, tops: Mapping[str, Shape]) -> None:
        """Count layer `i` with the tops of its own. Raises its LayerError where a part or the whole does not fit."""
        weights = {f"weight blob {j}": blob.shape for j, blob in enumerate(layer.blobs)}
        named = {f"top {name!r}": shape for name, shape in tops.items()}
        for what, shape in (*weights.items(), *named.items()):
            layer.afford(4 * math.prod(max(1, extent) for extent in shape), f"{what} of shape {shape}")
        values = sum(math.prod(shape) for shape in named.values())
        of_weights = 4 * sum(math.prod(shape) for shape in weights.values())
        counts = _Counts(of_weights, layer.state_bytes, 4 * values, layer.work + values)
        layer.afford(counts.bytes, "its forward pass")
        before = self._layers.get(i, _Counts(0, 0, 0, 0))
        self._sums = _Counts(*(a + b - c for a, b, c in zip(self._sums, counts, before, strict=True)))
        self._layers[i] = counts
        self._workspace = max(self._workspace, layer.workspace_bytes)
        self._fits = False
        self._check_whole(layer, counts.bytes)

    def take_turns(self, size: int, layers: Sequence[Layer]) -> None:
        """Count so many bytes for all tops' data. Raises LayerError where the whole does not fit."""
        self.turns = size
        if layers:
            largest = max(self._layers, key=lambda i: self._layers[i].bytes)
            self._check_whole(layers[largest], self._layers[largest].bytes)

    def check_backward(self, layers: Sequence[Layer]) -> None:
        """Raise LayerError where all diffs do not fit beside a forward pass."""
        if not self._fits:
            self.check_diffs(self.diffs, layers)
            self._fits = True

    def check_diffs(self, size: int, layers: Sequence[Layer]) -> None:
        """Raise LayerError where so many bytes of diffs do not fit beside a forward pass."""
        needed = self.total + size
        if needed > (most := self._most()):
            largest = max(self._layers, key=lambda i: self._layers[i].diffs)
            own = f"has diffs of {shown(self._layers[largest].diffs)}"
            raise layers[largest].error(f"{own}; with the others a backward pass {too_much(needed, most)}")

    def _most(self) -> int:
        given = given_memory()
        return self._left if given is None else given

    def _check_whole(self, layer: Layer, own: int) -> None:
        most = self._most()
        if self.total > most:
            raise layer.error(f"takes {shown(own)}; with the other layers the net {too_much(self.total, most)}")
        if self.work > most_work():
            raise layer.error(f"with the other layers a forward pass {too_much_work(self.work, most_work())}")
