"""Weights that a pass makes from those that there are: times factors, turned around."""

from collections.abc import Callable
from typing import Any, ClassVar

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


class MadeOfHost:
    """Weights in a form for reading only, which `upload` makes from the host's."""

    what: ClassVar[str]

    def __init__(self, layout: Layout) -> None:
        self.memory = Memory(layout)

    def download(self, host: NDArray[Any]) -> None:
        """There is no way back."""
        raise StateError(f"{self.what} were not made from the host's; write the weights again")

    def take(self, other: Home) -> bool:
        """Only from the host."""
        return False


class Turned(MadeOfHost):
    """Weights in that layout, turned."""

    what = "turned weights"

    def __init__(self, layout: Layout, turn: Turn) -> None:
        super().__init__(layout)
        self._turn = turn

    def upload(self, host: NDArray[Any]) -> None:
        """Make them from those."""
        layout, values = self.memory.layout, np.ascontiguousarray(self._turn(host))
        source = Memory(contiguous(layout.shape), address(values), values)
        own_call(reorder(source.layout, layout), {SRC: source, DST: self.memory})()


def scaled(b: Builder, weight: Floats, bias: Floats | None, fold: Fold) -> tuple[Callable[[], Floats], Memory]:
    """What gives the weights times the fold's factors, and the bias that goes with them, which it writes."""
    shift = Memory(contiguous((len(weight),)))
    raw_weight, raw_bias = b.raw(weight), None if bias is None else b.raw(bias)
    steps, shifts = fold.bound(b), shift.array((len(weight),))

    def scale() -> Floats:
        factor = np.ones(len(raw_weight), np.float32)
        shifts[...] = 0 if raw_bias is None else raw_bias
        for step in steps:
            step(factor, shifts)
        product: Floats = raw_weight * factor.reshape(-1, *(1,) * (raw_weight.ndim - 1))
        return product

    return scale, shift


def folded(
    b: Builder, weight: Floats, bias: Floats | None, layout: Layout, fold: Fold, turn: Turn | None = None
) -> tuple[Memory, Memory]:
    """The weights times the fold's factors in that layout, and the bias that goes with them; kept up to date.

    turn   makes weights for the layout from those that the operation has
    """
    target, plain = Memory(layout), Memory(contiguous(layout.shape), 0)
    pack = own_call(reorder(plain.layout, layout), {SRC: plain, DST: target})
    scale, shift = scaled(b, weight, bias, fold)

    def fold_in() -> None:
        values = scale()
        ready = values if turn is None else np.ascontiguousarray(turn(values.reshape(-1)))
        plain.place(address(ready), ready)
        pack()
        plain.place(0, None)

    b.prepare([weight, *([] if bias is None else [bias]), *fold.sources], fold_in)
    return target, shift
