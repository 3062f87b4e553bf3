"""Layers whose every value depends on the bottom's at the same place: their base, and what their operations share.

Such a layer is its formula, its derivative, and which data the derivative reads:

    @register("AbsVal", bottoms=1, tops=1)
    class AbsVal(Elementwise):
        reads = ("bottom",)

        def value(self, bottom_data, top_data):
            absval_forward(bottom_data, top_data)

        def derivative(self, bottom_data, top_data, top_diff, bottom_diff):
            absval_backward(bottom_data, top_diff, bottom_diff)

In place the bottom does not outlive forward: where the derivative reads it, the base keeps a copy.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import Layer, State

BLOCK = 1 << 16
"""Elements that several passes of an operation's body work on before going on, so that they stay in the cache."""


class Elementwise(Layer):
    """bottom of any shape -> top of the same shape; each value from the one at the same place. Runs in place."""

    in_place = True
    row_bottoms = (0,)
    keeps_bottom = False
    """Forward copies the bottom, and the copy is what `derivative` gets."""

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        """Of `reads`, which says what the derivative is made of, the bottom is kept in place."""
        if self.runs_in_place and "bottom" in self.reads:
            self.keeps_bottom, self.reads = True, tuple(name for name in self.reads if name != "bottom")

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        if self.keeps_bottom:
            self.kept: State = self.state("bottom", bottom_shapes[0])
        return [bottom_shapes[0]]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        if self.keeps_bottom:
            copy_forward(bottom[0].data, self.kept.array)
        self.value(bottom[0].data, top[0].data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if propagate_down[0]:
            data = self.kept.array if self.keeps_bottom else bottom[0].data
            self.derivative(data, top[0].data, top[0].diff, bottom[0].diff)

    def value(self, bottom_data: Floats, top_data: Floats) -> None:
        """Call the operation that writes `top_data`."""
        raise NotImplementedError

    def derivative(self, bottom_data: Floats, top_data: Floats, top_diff: Floats, bottom_diff: Floats) -> None:
        """Call the operation that writes `bottom_diff`; of the data it may use what `reads` names."""
        raise NotImplementedError


def blocks(*arrays: NDArray[Any]) -> Iterator[tuple[NDArray[Any], ...]]:
    """Walk equally large arrays together: flat views of at most BLOCK elements of each."""
    flat = [array.reshape(-1) for array in arrays]
    for start in range(0, flat[0].size, BLOCK):
        yield tuple(array[start : start + BLOCK] for array in flat)


def rectify(values: Floats, negative_slope: float, out: Floats) -> None:
    """out = max(values, 0) + negative_slope * min(values, 0); `out` may be `values`."""
    if negative_slope == 0:
        np.maximum(values, 0, out=out)
        return
    choose = np.maximum if negative_slope <= 1 else np.minimum
    sloped = np.empty(min(BLOCK, values.size), np.float32)
    for x, y in blocks(values, out):
        choose(x, np.multiply(x, np.float32(negative_slope), out=sloped[: x.size]), out=y)


@kernel("elementwise.cu", per="top_data", each=4)
def copy_forward(bottom_data: Floats, top_data: Floats) -> None:
    """top = bottom"""
    np.copyto(top_data, bottom_data)


@kernel("elementwise.cu", per="bottom_diff", each=4)
def copy_backward(top_diff: Floats, bottom_diff: Floats) -> None:
    """bottom_diff = top_diff"""
    np.copyto(bottom_diff, top_diff)
