"""Rules of relevance for layers without weights: handed down as it is, shared out by contribution, or to one bottom."""

from collections.abc import Sequence
from dataclasses import dataclass

from caffepy import device
from caffepy.blob import Arrays
from caffepy.layer import Layer
from caffepy.layers.basis.elementwise import copy_backward
from caffepy.net.rules import Memory, Reads, Rule
from caffepy.rules.operations import relevance_product, relevance_quotient


@dataclass(frozen=True)
class Pass(Rule):
    """R goes to bottom 0 as it is."""

    def reads_of(self, layer: Layer) -> Reads:
        """No data."""
        return ()

    def backward(
        self,
        layer: Layer,
        index: int,
        top: Sequence[Arrays],
        propagate_down: Sequence[bool],
        bottom: Sequence[Arrays],
        memory: Memory,
    ) -> None:
        if propagate_down[0] and not layer.runs_in_place:
            copy_backward(top[0].diff, bottom[0].diff)


@dataclass(frozen=True)
class First(Pass):
    """R goes to bottom 0, none to the others, which are gates (Arras et al. 2017, arXiv 1706.07206)."""

    def backward(
        self,
        layer: Layer,
        index: int,
        top: Sequence[Arrays],
        propagate_down: Sequence[bool],
        bottom: Sequence[Arrays],
        memory: Memory,
    ) -> None:
        super().backward(layer, index, top, propagate_down, bottom, memory)
        for gate, down in zip(bottom[1:], propagate_down[1:], strict=True):
            if down:
                device.current().fill(gate.diff, 0)


@dataclass(frozen=True)
class Contributions(Rule):
    """R goes to each bottom value in proportion to what it adds to the top: sums, means, interpolation."""

    stabilizer: float = 1e-6

    def reads_of(self, layer: Layer) -> Reads:
        """The bottoms."""
        return ("bottom",)

    def backward(
        self,
        layer: Layer,
        index: int,
        top: Sequence[Arrays],
        propagate_down: Sequence[bool],
        bottom: Sequence[Arrays],
        memory: Memory,
    ) -> None:
        total, quotient = memory.scratch("sum", top[0].shape), memory.scratch("quotient", top[0].shape)
        layer.forward(bottom, [total.arrays(("overwrite", "read"))])
        relevance = quotient.arrays(("read", "overwrite")).diff
        relevance_quotient(top[0].diff, total.arrays().data, self.stabilizer, relevance)
        layer.backward([quotient.arrays()], propagate_down, bottom)
        for b, down in zip(bottom, propagate_down, strict=True):
            if down:
                diff = b.diff
                relevance_product(b.data, diff, 1.0, 0, diff)
