"""The ONNX graph that layers add their operators to."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from caffepy.blob import Shape


class Graph:
    """Nodes and constants of an ONNX graph, in order."""

    def __init__(self, onnx: Any) -> None:
        self._onnx = onnx
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._weights: dict[tuple[int, Shape], str] = {}

    def add(self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        """Add an operator."""
        self.nodes.append(self._onnx.helper.make_node(kind, inputs, outputs, outputs[0], **attributes))

    def constant(self, name: str, values: ArrayLike) -> str:
        """Add a constant: float32, or int64 where the values are whole numbers."""
        array = np.asarray(values)
        array = array.astype(np.int64 if array.dtype.kind in "iu" else np.float32)
        self.initializers.append(self._onnx.numpy_helper.from_array(array, name))
        return name

    def weight(self, name: str, storage: object, values: np.ndarray[Any, Any]) -> str:
        """Add a constant, once for each storage and shape."""
        key = id(storage), values.shape
        if key not in self._weights:
            self._weights[key] = self.constant(name, values)
        return self._weights[key]

    def rename(self, first: int, names: dict[str, str]) -> None:
        """Give values other names, in the nodes from number `first` on."""
        for node in self.nodes[first:]:
            for values in (node.input, node.output):
                values[:] = [names.get(value, value) for value in values]
