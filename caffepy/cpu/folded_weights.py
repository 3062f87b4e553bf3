"""Weights that a pass makes from those that there are: times factors, turned around."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffepy.blob import Floats
from caffepy.blob.home import Home
from caffepy.cpu.build import Builder
from caffepy.cpu.folding import Fold
from caffepy.cpu.homes import DST, SRC, own_call, reorder
from caffepy.device.onednn.handles import Layout, Memory, address, contiguous
from caffepy.errors import StateError

Turn = Callable[[Floats], Floats]


class Turned:
    """Weights in that layout, turned; for reading only, made from the host's."""

    def __init__(self, layout: Layout, turn: Turn) -> None:
        self.memory, self._turn = Memory(layout), turn

    def upload(self, host: NDArray[Any]) -> None:
        """Make them from those."""
        layout, values = self.memory.layout, np.ascontiguousarray(self._turn(host))
        source = Memory(contiguous(layout.shape), address(values), values)
        own_call(reorder(source.layout, layout), {SRC: source, DST: self.memory})()

    def download(self, host: NDArray[Any]) -> None:
        """There is no way back."""
        raise StateError("turned weights were not made from the host's; write the weights again")

    def take(self, other: Home) -> bool:
        """Only from the host."""
        return False


def folded(
    b: Builder, weight: Floats, bias: Floats | None, layout: Layout, fold: Fold, turn: Turn | None = None
) -> tuple[Memory, Memory]:
    """The weights times the fold's factors in that layout, and the bias that goes with them; kept up to date.

    turn   makes weights for the layout from those that the operation has
    """
    target, plain = Memory(layout), Memory(contiguous(layout.shape), 0)
    shift = Memory(contiguous((len(weight),)))
    pack = own_call(reorder(plain.layout, layout), {SRC: plain, DST: target})
    raw_weight, raw_bias = b.raw(weight), None if bias is None else b.raw(bias)
    steps, shifts = fold.bound(b), shift.array((len(weight),))

    def fold_in() -> None:
        factor = np.ones(len(raw_weight), np.float32)
        shifts[...] = 0 if raw_bias is None else raw_bias
        for step in steps:
            step(factor, shifts)
        scaled = raw_weight * factor.reshape(-1, *(1,) * (raw_weight.ndim - 1))
        ready = scaled if turn is None else np.ascontiguousarray(turn(scaled.reshape(-1)))
        plain.place(address(ready), ready)
        pack()
        plain.place(0, None)

    b.prepare([weight, *([] if bias is None else [bias]), *fold.sources], fold_in)
    return target, shift
