"""DeepLIFT's rescale rule: differences from a reference in place of derivatives.

Shrikumar, Greenside & Kundaje 2017, "Learning Important Features Through Propagating Activation Differences",
arXiv 1704.02685. The net runs on images and, behind them in the batch, as many references.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from caffepy.blob import Arrays, Blob
from caffepy.errors import ArgumentError
from caffepy.graph import Wiring
from caffepy.layer import Layer
from caffepy.layers.activation.prelu import PReLU
from caffepy.layers.activation.softmax import Softmax
from caffepy.layers.basis.elementwise import Elementwise
from caffepy.layers.common.scale import Scale
from caffepy.layers.normalization.batch_norm import BatchNorm
from caffepy.layers.normalization.lrn import LRN
from caffepy.layers.normalization.mvn import MVN
from caffepy.layers.normalization.normalize import Normalize
from caffepy.layers.recurrent.lstm import LSTMUnit
from caffepy.layers.recurrent.recurrent import Recurrent
from caffepy.layers.utility.eltwise import Eltwise
from caffepy.layers.vision.pooling import Pooling
from caffepy.net.rules import Reads, Rule, Step
from caffepy.proto.caffe_pb2 import EltwiseParameter, PoolingParameter
from caffepy.rules.operations import (
    halves_mean,
    lrn_rescale_backward,
    pool_rescale,
    pool_rescale_backward,
    rescale_backward,
)


@dataclass(frozen=True)
class Rescale(Rule):
    """bottom_diff = top_diff * (y - y of the reference) / (x - x of the reference)."""

    def keeps(self, layer: Layer) -> bool:
        """In place the bottom does not outlive forward."""
        return layer.runs_in_place

    def reads_of(self, layer: Layer) -> Reads:
        """The bottom, unless forward keeps it."""
        return () if layer.runs_in_place else ("bottom",)

    def backward(self, step: Step) -> None:
        if not step.propagate_down[0]:
            return
        (top,), (bottom,) = step.top, step.bottom
        before, after = _again(step, in_place=step.layer.runs_in_place)
        slope = step.memory.scratch("spread", bottom.shape)
        written = before.arrays(("read", "overwrite"), slope.diff_storage)
        step.layer.backward([_topped(top, after)], [True], [written])
        x, y = before.arrays().data, after.arrays().data
        rescale_backward(x, y, x.size // 2, top.diff, slope.arrays().diff, bottom.diff)


@dataclass(frozen=True)
class RescaleMaximum(Rule):
    """For maxima of windows: what a maximum gained goes to where it was found, in the image and in the reference."""

    reads = ("bottom",)

    def backward(self, step: Step) -> None:
        if not step.propagate_down[0]:
            return
        layer, memory, top, bottom = step.layer, step.memory, step.top[0], step.bottom[0]
        before, after = _again(step, in_place=False)
        spread, slope = memory.scratch("spread", bottom.shape), memory.scratch("slope", bottom.shape)
        moved = memory.scratch("moved", top.shape)
        half = before.count // 2
        pool_rescale(after.arrays().data, after.count // 2, top.diff, moved.arrays(("read", "overwrite")).diff)
        layer.backward([moved.arrays()], [True], [before.arrays(("read", "overwrite"), spread.diff_storage)])
        layer.backward([top], [True], [before.arrays(("read", "overwrite"), slope.diff_storage)])
        x = before.arrays().data
        pool_rescale_backward(x, half, spread.arrays().diff, slope.arrays().diff, bottom.diff)


@dataclass(frozen=True)
class RescaleNormalization(Rule):
    """For LRN across channels, x * scale^-beta: each factor's difference times the mean of the other.

    Squares are rescaled as any function of one value; so nothing is lost, as with the paper's own rules.
    """

    reads = ("bottom",)

    def backward(self, step: Step) -> None:
        if not step.propagate_down[0]:
            return
        layer = step.layer
        assert isinstance(layer, LRN)
        channels, height, width = layer.extent
        data, scale = step.bottom[0].data, layer.scale.array
        window = channels, height * width, layer.local_size, layer.alpha, layer.beta
        lrn_rescale_backward(data, scale, data.size // 2, *window, step.top[0].diff, step.bottom[0].diff)


@dataclass(frozen=True)
class RescaleProduct(Rule):
    """For products of two bottoms, gates: each factor's difference times the mean of the other, so nothing is lost."""

    reads = ("bottom",)

    def backward(self, step: Step) -> None:
        means = []
        for number, factor in enumerate(step.bottom):
            mean = step.memory.scratch(f"mean {number}", factor.shape)
            halves_mean(factor.data, factor.data.size // 2, mean.arrays(("overwrite", "read")).data)
            means.append(mean.arrays(("read", "overwrite"), factor.blob().diff_storage))
        step.layer.backward(step.top, step.propagate_down, means)


@dataclass(frozen=True)
class Without(Rule):
    """For layers that DeepLIFT has no rule for here: their derivative would lose a part of the difference, unseen."""

    reads = ()

    def backward(self, step: Step) -> None:
        layer = step.layer
        raise ArgumentError(
            f"deeplift has no rule for layer {layer.name!r} ({layer.type}) as it is set here; integrated-gradients "
            "applies to any net"
        )


def _is_product(layer: Layer) -> bool:
    """Whether it multiplies two bottoms that it leaves as they were."""
    if isinstance(layer, Scale):
        return not layer.learned and not layer.runs_in_place
    return isinstance(layer, Eltwise) and layer.operation == EltwiseParameter.PROD and len(layer.param.bottom) == 2


def _has_no_rule(layer: Layer) -> bool:
    """Whether it is nonlinear, and none of those that have a rule."""
    if isinstance(layer, Eltwise):
        return layer.operation != EltwiseParameter.SUM
    if isinstance(layer, Scale):
        return not layer.learned
    if isinstance(layer, BatchNorm):
        return not layer.use_global_stats
    if isinstance(layer, Pooling):
        return layer.pool not in (PoolingParameter.AVE, PoolingParameter.MAX)
    return isinstance(layer, Recurrent | LSTMUnit | Softmax | LRN | MVN | Normalize)


@dataclass(frozen=True)
class RescaleSet:
    """Rescale for activations, maximum pooling, LRN across channels and gates; linear layers keep their derivatives.

    Recurrent layers, maxima of bottoms, softmaxes amid the net and normalizations by an image's own statistics have no
    rule: to go backward through one raises ArgumentError.
    """

    name: str = "rescale"

    def choose(self, layers: Sequence[Layer], wiring: Wiring) -> Mapping[int, Rule]:
        """Rules by the layer's index."""
        chosen: dict[int, Rule] = {}
        for i, layer in enumerate(layers):
            if isinstance(layer, Elementwise | PReLU):
                chosen[i] = Rescale()
            elif isinstance(layer, Pooling) and layer.pool == PoolingParameter.MAX and not layer.box:
                chosen[i] = RescaleMaximum()
            elif isinstance(layer, LRN) and not layer.within:
                chosen[i] = RescaleNormalization()
            elif _is_product(layer):
                chosen[i] = RescaleProduct()
            elif _has_no_rule(layer):
                chosen[i] = Without()
        return chosen


RESCALE = RescaleSet()
"""DeepLIFT's rescale rule, on a batch of images and their references."""


def _again(step: Step, *, in_place: bool) -> tuple[Blob, Blob]:
    """The bottom as forward found it, and the top computed again: a layer behind may have written over it."""
    before = step.bottom[0].blob()
    if in_place:
        before.data_storage = step.memory.kept(step.index)
    after = step.memory.scratch("sum", step.top[0].shape)
    step.layer.forward([before.arrays()], [after.arrays(("overwrite", "read"))])
    return before, after


def _topped(top: Arrays, after: Blob) -> Arrays:
    blob = top.blob()
    blob.data_storage = after.data_storage
    return blob.arrays()
