"""Rules of relevance for layers without weights: handed down as it is, shared out by contribution, or to one bottom."""

from dataclasses import dataclass

from caffepy import device
from caffepy.layers.basis.elementwise import copy_backward
from caffepy.net.rules import Rule, Step
from caffepy.rules.operations import relevance_product, relevance_quotient


@dataclass(frozen=True)
class Pass(Rule):
    """R goes to bottom 0 as it is."""

    reads = ()

    def backward(self, step: Step) -> None:
        if step.propagate_down[0] and not step.layer.runs_in_place:
            copy_backward(step.top[0].diff, step.bottom[0].diff)


@dataclass(frozen=True)
class First(Pass):
    """R goes to bottom 0, none to the others, which are gates (Arras et al. 2017, arXiv 1706.07206)."""

    def backward(self, step: Step) -> None:
        super().backward(step)
        for gate, down in zip(step.bottom[1:], step.propagate_down[1:], strict=True):
            if down:
                device.current().fill(gate.diff, 0)


@dataclass(frozen=True)
class Contributions(Rule):
    """R goes to each bottom value in proportion to what it adds to the top: sums, means, interpolation."""

    reads = ("bottom",)
    stabilizer: float = 1e-6

    def backward(self, step: Step) -> None:
        top = step.top[0]
        total, quotient = step.memory.scratch("sum", top.shape), step.memory.scratch("quotient", top.shape)
        step.layer.forward(step.bottom, [total.arrays(("overwrite", "read"))])
        relevance = quotient.arrays(("read", "overwrite")).diff
        relevance_quotient(top.diff, total.arrays().data, self.stabilizer, relevance)
        step.layer.backward([quotient.arrays()], step.propagate_down, step.bottom)
        for b, down in zip(step.bottom, step.propagate_down, strict=True):
            if down:
                diff = b.diff
                relevance_product(b.data, diff, 1.0, 0, diff)
