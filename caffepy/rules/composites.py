"""Which rule of relevance each layer of a net gets: by its kind, and whether it is the first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from caffepy.errors import ArgumentError
from caffepy.graph import Wiring
from caffepy.layer import Layer
from caffepy.layers.activation.prelu import PReLU
from caffepy.layers.basis.elementwise import Elementwise
from caffepy.layers.common.inner_product import InnerProduct
from caffepy.layers.common.scale import Bias, Scale
from caffepy.layers.normalization.batch_norm import BatchNorm
from caffepy.layers.normalization.bn import BN
from caffepy.layers.normalization.lrn import LRN
from caffepy.layers.normalization.mvn import MVN
from caffepy.layers.normalization.normalize import Normalize
from caffepy.layers.utility.eltwise import Eltwise
from caffepy.layers.vision.pooling import Pooling
from caffepy.layers.vision.resize import Resize
from caffepy.net.rules import Rule
from caffepy.proto.caffe_pb2 import EltwiseParameter, PoolingParameter
from caffepy.rules import products
from caffepy.rules.folding import PRODUCTS, Folded, followers
from caffepy.rules.moves import Contributions, First, Pass
from caffepy.rules.products import Products

_PASSING = (Elementwise, PReLU, LRN, BatchNorm, BN, MVN, Normalize, Bias)


@dataclass(frozen=True)
class Composite:
    """Rules by layer: for convolutions, for inner products, and for the layers of products that come first.

    Activations and normalizations hand relevance down as it is, sums and means in proportion to what was added; gates
    give it to what they let through. A BatchNorm or Scale behind a product is folded into it. Maximum, views and moves
    keep their derivatives. Raises ArgumentError for a layer with weights that has no rule.
    """

    name: str
    convolution: Products
    inner_product: Products
    first: Products | None = None
    last: Products | None = None
    """For the layer of products that nothing but layers without weights comes behind."""
    stabilizer: float = 1e-6

    def choose(self, layers: Sequence[Layer], wiring: Wiring) -> Mapping[int, Rule]:
        """Rules by the layer's index."""
        chosen: dict[int, Rule] = {}
        after = _behind_products(layers, wiring)
        folded = set[int]()
        for i, layer in enumerate(layers):
            if i in folded:
                chosen[i] = Pass()
            elif isinstance(layer, PRODUCTS):
                behind = followers(i, layers, wiring)
                folded.update(behind)
                chosen[i] = _with_those_behind(self._products(i, layer, after), [layers[k] for k in behind])
            elif (rule := self._other(layer)) is not None:
                chosen[i] = rule
            elif layer.blobs:
                raise ArgumentError(
                    f"relevance has no rule for layer {layer.name!r} ({layer.type}); methods of gradients apply"
                )
        if self.last is not None:
            last = max((i for i, layer in enumerate(layers) if isinstance(layer, PRODUCTS)), default=-1)
            if last >= 0:
                chosen[last] = self.last
        return chosen

    def _products(self, index: int, layer: Layer, after: set[int]) -> Products:
        if self.first is not None and index not in after:
            return self.first
        return self.inner_product if isinstance(layer, InnerProduct) else self.convolution

    def _other(self, layer: Layer) -> Rule | None:
        if isinstance(layer, _PASSING):
            return Pass()
        if isinstance(layer, Scale):
            return Pass() if layer.learned else First()
        if isinstance(layer, Eltwise):
            if layer.operation == EltwiseParameter.PROD:
                return First()
            return Contributions(self.stabilizer) if layer.operation == EltwiseParameter.SUM else None
        if isinstance(layer, Pooling) and layer.pool == PoolingParameter.AVE:
            return Contributions(self.stabilizer)
        return Contributions(self.stabilizer) if isinstance(layer, Resize) else None


def _with_those_behind(rule: Products, behind: Sequence[Layer]) -> Products:
    if not behind:
        return rule
    norm = next((layer for layer in behind if isinstance(layer, BatchNorm)), None)
    scale = next((layer for layer in behind if isinstance(layer, Scale)), None)
    return rule.behind(Folded(norm, scale))


def _behind_products(layers: Sequence[Layer], wiring: Wiring) -> set[int]:
    """Layers that see what a layer of products computed."""
    found: set[int] = set()
    for i, sources in enumerate(wiring.sources):
        if any(isinstance(layers[k], PRODUCTS) or k in found for k, _ in sources):
            found.add(i)
    return found


def composite(name: str, *, low: Sequence[float] = (), high: Sequence[float] = ()) -> Composite:
    """The composite of that name, as zennit names them.

    low, high   for "epsilon-gamma-box": the least and greatest values of the input, by channel or one for all
    """
    plain, plus, dual = products.epsilon(), products.z_plus(), products.alpha_beta(2, 1)
    made = {
        "epsilon": (plain, plain, None),
        "epsilon-plus": (plus, plain, None),
        "epsilon-alpha2-beta1": (dual, plain, None),
        "epsilon-plus-flat": (plus, plain, products.flat()),
        "epsilon-alpha2-beta1-flat": (dual, plain, products.flat()),
        "epsilon-gamma": (products.gamma(), plain, None),
        "epsilon-gamma-box": (products.gamma(), plain, products.z_box(low, high)),
    }
    if name not in made:
        raise ArgumentError(f"there is no composite {name!r}; there are {', '.join(made)}")
    if name == "epsilon-gamma-box" and not (low and high):
        raise ArgumentError("epsilon-gamma-box needs low and high, the least and greatest values of the input")
    convolution, dense, first = made[name]
    return Composite(name, convolution, dense, first)


EXCITATION = Composite("excitation", products.excitation(), products.excitation())
"""Excitation backpropagation."""

CONTRASTIVE = Composite("contrastive", products.excitation(), products.excitation(), last=products.contrast())
"""The same, contrastive at the last layer with weights."""
