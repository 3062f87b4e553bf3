"""What a net's layers take, added up from shapes before any of it is taken."""

import math
from collections.abc import Mapping

from caffepy.blob import Shape, memory
from caffepy.layer import Layer
from caffepy.limits import in_force


class Budget:
    """Bytes of data, weights, layers' own memory and scratch memory; diffs, which not every net has, are left out."""

    def __init__(self) -> None:
        self._layers: dict[int, int] = {}
        self._workspace = 0
        self._total = 0

    @property
    def total(self) -> int:
        """Of all layers."""
        return self._total + self._workspace

    def check(self, i: int, layer: Layer, tops: Mapping[str, Shape]) -> None:
        """Count layer `i` with the tops of its own. Raises its LayerError where a part or the whole does not fit."""
        given = in_force().memory
        most = memory.limit() if given is None else given
        parts = {f"weight blob {j}": blob.shape for j, blob in enumerate(layer.blobs)}
        parts |= {f"top {name!r}": shape for name, shape in tops.items()}
        for what, shape in parts.items():
            if (size := 4 * math.prod(shape)) > most:
                raise layer.error(f"{what} of shape {shape} {memory.too_much(size, most)}")
        own = sum(4 * math.prod(shape) for shape in parts.values()) + layer.state_bytes
        if own > most:
            raise layer.error(f"its forward pass {memory.too_much(own, most)}")
        self._total += own - self._layers.get(i, 0)
        self._layers[i] = own
        self._workspace = max(self._workspace, layer.workspace_bytes)
        if self.total > most:
            whole = memory.too_much(self.total, most)
            raise layer.error(f"takes {memory.shown(own)}; with the other layers the net {whole}")
