"""Layer-wise relevance propagation through weighted sums: what each input contributes to each sum.

Bach, Binder, Montavon, Klauschen, Mueller & Samek 2015, "On Pixel-Wise Explanations for Non-Linear Classifier Decisions
by Layer-Wise Relevance Propagation"; Montavon, Binder, Lapuschkin, Samek & Mueller 2019, "Layer-Wise Relevance
Propagation: An Overview", of which `gamma` is, here for inputs of both signs as zennit has it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from caffepy import device
from caffepy.blob import Arrays, Blob
from caffepy.layer import Layer
from caffepy.net.rules import Memory, Rule, Step, standing_in
from caffepy.rules.folding import Folded, weights_of
from caffepy.rules.operations import favored, keep_of_sign, part_of, relevance_product, relevance_quotient

Part = Literal["all", "positive", "negative", "ones", "low", "high"]
Weights = Literal["all", "positive", "negative", "ones", "squares", "favored positive", "favored negative"]


@dataclass(frozen=True)
class Term:
    """sign * (a part of the inputs times a part of the weights), with the bias's same part or without."""

    inputs: Part
    weights: Weights
    bias: bool = True
    sign: float = 1.0


@dataclass(frozen=True)
class Share:
    """coefficient * the relevance that goes down in proportion to these terms, where the sum z has that sign."""

    terms: tuple[Term, ...]
    coefficient: float = 1.0
    only: Literal["all", "positive", "negative"] = "all"


@dataclass(frozen=True)
class Products(Rule):
    """R_i = sum over shares and terms of sign x_i sum over j of w_ij R_j / (z_j + epsilon sign(z_j)),

    z_j the sum of the share's terms: sign * (sum over i of x_i w_ij + b_j).
    """

    reads = ("bottom",)
    shares: tuple[Share, ...]
    epsilon: float = 1e-6
    gamma: float = 0.0
    low: tuple[float, ...] = ()
    """The least value of an input, of each channel, or one for all."""
    high: tuple[float, ...] = ()
    folded: Folded | None = None

    def behind(self, folded: Folded) -> "Products":
        """The same for a layer with that behind it."""
        return replace(self, folded=folded)

    def backward(self, step: Step) -> None:
        layer, memory = step.layer, step.memory
        weights = weights_of(layer, self.folded, memory)
        for t, down, b in zip(step.top, step.propagate_down, step.bottom, strict=True):
            if not down:
                continue
            relevance = memory.scratch("relevance", b.shape)
            for number, share in enumerate(self.shares):
                self._share(layer, share, weights, t, b, relevance, memory, first=number == 0)
            relevance_product(None, relevance.arrays().data, 1.0, 0, b.diff)

    def _share(
        self,
        layer: Layer,
        share: Share,
        weights: Sequence[Blob],
        top: Arrays,
        bottom: Arrays,
        relevance: Blob,
        memory: Memory,
        *,
        first: bool,
    ) -> None:
        total, quotient = memory.scratch("sum", top.shape), memory.scratch("quotient", top.shape)
        made = []
        for number, term in enumerate(share.terms):
            x = self._inputs(term.inputs, bottom, number, memory)
            blobs = self._weights(layer, term, weights, number, memory)
            made.append((term, x, blobs))
            _forward(layer, blobs, x, total if number == 0 else quotient)
            if number or term.sign != 1:
                found = quotient if number else total
                sums = total.arrays(("update" if number else "overwrite", "read")).data
                relevance_product(None, found.arrays().data, term.sign, int(number > 0), sums)
        diff = quotient.arrays(("read", "overwrite")).diff
        relevance_quotient(top.diff, total.arrays().data, self.epsilon, diff)
        if share.only != "all":
            _forward(layer, weights, bottom, total)
            judge = total.arrays().data
            keep_of_sign(judge, 1.0 if share.only == "positive" else -1.0, quotient.arrays(("read", "update")).diff)
        for number, (term, x, blobs) in enumerate(made):
            spread = memory.scratch("spread", bottom.shape)
            with standing_in(layer, blobs):
                layer.backward([quotient.arrays()], [True], [_with_diff(x, spread)])
            accumulate = int(number > 0 or not first)
            written = relevance.arrays(("update" if accumulate else "overwrite", "read")).data
            values = None if term.inputs == "ones" else x.data
            relevance_product(values, spread.arrays().diff, share.coefficient * term.sign, accumulate, written)

    def _inputs(self, part: Part, bottom: Arrays, number: int, memory: Memory) -> Arrays:
        if part == "all":
            return bottom
        made = memory.scratch(f"inputs {number}", bottom.shape)
        values = made.arrays(("overwrite", "read")).data
        if part in ("positive", "negative"):
            part_of(bottom.data, 1.0 if part == "positive" else -1.0, values)
        else:
            bounds = {"ones": (1.0,), "low": self.low, "high": self.high}[part]
            _fill_channels(values, bottom.shape, bounds)
        return made.arrays()

    def _weights(self, layer: Layer, term: Term, weights: Sequence[Blob], number: int, memory: Memory) -> list[Blob]:
        if term.weights == "all" and (term.bias or len(weights) < 2):
            return list(weights)
        made = []
        for what, blob in zip(("weights", "bias"), weights, strict=False):
            copy = memory.scratch(f"{what} {number}", blob.shape)
            _write_part(term if what == "weights" or term.bias else None, blob, copy, self.gamma)
            made.append(copy)
        return made


def _write_part(term: Term | None, blob: Blob, copy: Blob, gamma: float) -> None:
    """The term's part of weights or bias; None: zeros."""
    values, written = blob.arrays().data, copy.arrays(("overwrite", "read")).data
    if term is None:
        device.current().fill(written, 0)
    elif term.weights == "all":
        relevance_product(None, values, 1.0, 0, written)
    elif term.weights == "ones":
        device.current().fill(written, 1)
    elif term.weights == "squares":
        relevance_product(values, values, 1.0, 0, written)
    elif term.weights in ("positive", "negative"):
        part_of(values, 1.0 if term.weights == "positive" else -1.0, written)
    else:
        favored(values, gamma, 1.0 if term.weights == "favored positive" else -1.0, written)


def _forward(layer: Layer, blobs: Sequence[Blob], inputs: Arrays, total: Blob) -> None:
    """total = the layer's sums of `inputs` with these weights."""
    with standing_in(layer, blobs):
        layer.forward([inputs], [total.arrays(("overwrite", "read"))])


def _with_diff(x: Arrays, spread: Blob) -> Arrays:
    blob = x.blob()
    return blob.arrays(("read", "overwrite"), spread.diff_storage)


def _fill_channels(values: Any, shape: Sequence[int], bounds: Sequence[float]) -> None:
    """Each channel's own value."""
    running, flat = device.current(), values.reshape(values.size)
    if len(bounds) == 1:
        running.fill(flat, bounds[0])
        return
    inner = values.size // (shape[0] * shape[1])
    for plane in range(shape[0] * shape[1]):
        running.fill(flat[plane * inner : (plane + 1) * inner], bounds[plane % shape[1]])


# ---- the rules


def epsilon(epsilon: float = 1e-6) -> Products:
    """In proportion to x_i w_ij, the bias taking its part; with epsilon 0, LRP-0."""
    return Products((Share((Term("all", "all"),)),), epsilon)


def alpha_beta(alpha: float = 2.0, beta: float = 1.0, stabilizer: float = 1e-6, *, bias: bool = True) -> Products:
    """alpha times in proportion to what is positive, minus beta times in proportion to what is negative."""
    positive = Term("positive", "positive", bias), Term("negative", "negative", bias=False)
    negative = Term("positive", "negative", bias), Term("negative", "positive", bias=False)
    shares = (Share(positive, alpha), *([Share(negative, -beta)] if beta else []))
    return Products(shares, stabilizer)


def z_plus(stabilizer: float = 1e-6) -> Products:
    """In proportion to what is positive: alpha 1, beta 0."""
    return alpha_beta(1.0, 0.0, stabilizer)


def gamma(gamma: float = 0.25, stabilizer: float = 1e-6) -> Products:
    """In proportion to x_i (w_ij + gamma w_ij's part that raises z_j's size)."""
    positive = Term("positive", "favored positive"), Term("negative", "favored negative", bias=False)
    negative = Term("positive", "favored negative"), Term("negative", "favored positive", bias=False)
    shares = Share(positive, only="positive"), Share(negative, only="negative")
    return Products(shares, stabilizer, gamma)


def flat(stabilizer: float = 1e-6) -> Products:
    """The same to every input that is seen."""
    return Products((Share((Term("ones", "ones", bias=False),)),), stabilizer)


def w_square(stabilizer: float = 1e-6) -> Products:
    """In proportion to w_ij squared."""
    return Products((Share((Term("ones", "squares"),)),), stabilizer)


def z_box(low: Sequence[float], high: Sequence[float], stabilizer: float = 1e-6) -> Products:
    """For inputs between `low` and `high`, by channel or one for all: x_i w_ij - low_i w+_ij - high_i w-_ij."""
    terms = Term("all", "all"), Term("low", "positive", sign=-1.0), Term("high", "negative", sign=-1.0)
    return Products((Share(terms),), stabilizer, low=tuple(low), high=tuple(high))


def excitation(stabilizer: float = 1e-6) -> Products:
    """Excitation backpropagation: in proportion to what is positive, without bias (Zhang et al. 2016, 1608.00507)."""
    return alpha_beta(1.0, 0.0, stabilizer, bias=False)


def contrast(stabilizer: float = 1e-6) -> Products:
    """For the last layer: what speaks for its outputs minus what speaks against them (the same)."""
    against = Term("positive", "negative", bias=False), Term("negative", "positive", bias=False)
    return Products((*excitation(stabilizer).shares, Share(against, -1.0)), stabilizer)
