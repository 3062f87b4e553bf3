"""What a net's layers take and have to do, added up from shapes before any of it is taken or done."""

import math
from collections.abc import Iterable, Mapping, Sequence

from caffepy.blob import Shape
from caffepy.layer import Layer
from caffepy.limits import given_memory, memory_left, most_work, shown, too_much, too_much_work


class Budget:
    """Bytes of data, weights, layers' own memory and scratch memory, and of the diffs that backward passes add."""

    def __init__(self) -> None:
        self._layers: dict[int, tuple[int, int, int]] = {}
        self._workspace = self._total = self._diffs = self.work = 0
        self._left, self._fits = memory_left(), False

    @property
    def total(self) -> int:
        """Bytes of a forward pass through all layers."""
        return self._total + self._workspace

    @property
    def diffs(self) -> int:
        """Bytes that backward passes add to that, at most."""
        return self._diffs

    def check(self, i: int, layer: Layer, tops: Mapping[str, Shape]) -> None:
        """Count layer `i` with the tops of its own. Raises its LayerError where a part or the whole does not fit."""
        parts = {f"weight blob {j}": blob.shape for j, blob in enumerate(layer.blobs)}
        parts |= {f"top {name!r}": shape for name, shape in tops.items()}
        for what, shape in parts.items():
            layer.afford(4 * math.prod(max(1, extent) for extent in shape), f"{what} of shape {shape}")
        blobs = sum(4 * math.prod(shape) for shape in parts.values())
        layer.afford(blobs + layer.state_bytes, "its forward pass")
        counts = blobs + layer.state_bytes, blobs, layer.work + sum(math.prod(shape) for shape in tops.values())
        before = self._layers.get(i, (0, 0, 0))
        self._total, self._diffs, self.work = (
            whole + now - then
            for whole, now, then in zip((self._total, self._diffs, self.work), counts, before, strict=True)
        )
        self._layers[i] = counts
        self._workspace = max(self._workspace, layer.workspace_bytes)
        self._check_whole(layer, counts[0])

    def check_backward(self, layers: Sequence[Layer]) -> None:
        """Raise LayerError where the diffs do not fit beside a forward pass."""
        if not self._fits:
            self.check_diffs(layers, range(len(layers)))
            self._fits = True

    def check_diffs(self, layers: Sequence[Layer], backward: Iterable[int]) -> None:
        """The same of the diffs of these layers only."""
        diffs = {i: self._layers[i][1] for i in backward if i in self._layers}
        needed = self.total + sum(diffs.values())
        if needed > (most := self._most()):
            largest = max(diffs, key=diffs.__getitem__)
            own = f"has diffs of {shown(diffs[largest])}"
            raise layers[largest].error(f"{own}; with the others a backward pass {too_much(needed, most)}")

    def _most(self) -> int:
        given = given_memory()
        return self._left if given is None else given

    def _check_whole(self, layer: Layer, own: int) -> None:
        self._fits = False
        most = self._most()
        if self.total > most:
            raise layer.error(f"takes {shown(own)}; with the other layers the net {too_much(self.total, most)}")
        if self.work > most_work():
            raise layer.error(f"with the other layers a forward pass {too_much_work(self.work, most_work())}")
