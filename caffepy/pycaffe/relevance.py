"""Layer-wise relevance propagation as a branch of Caffe has it, `net.lrp` (Lapuschkin et al. 2016, JMLR 17)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffepy import device
from caffepy.blob import Floats
from caffepy.errors import ArgumentError
from caffepy.graph import Wiring
from caffepy.layer import Layer
from caffepy.net import Net
from caffepy.net.rules import Rule, RuleSet
from caffepy.pycaffe.explaining import RelPropOpts
from caffepy.rules import DECONV, Composite, products
from caffepy.rules.folding import PRODUCTS


@dataclass(frozen=True)
class Below:
    """A composite, and for layers of products up to an index one rule."""

    composite: Composite
    last: int = -1
    first: products.Products | None = None

    def choose(self, layers: Sequence[Layer], wiring: Wiring) -> Mapping[int, Rule]:
        """Rules by the layer's index."""
        chosen = dict(self.composite.choose(layers, wiring))
        if self.first is not None:
            chosen |= {i: self.first for i in range(self.last + 1) if isinstance(layers[i], PRODUCTS)}
        return chosen


def lrp(net: Net, class_inds: Any, lrp_opts: RelPropOpts | None) -> Floats:
    """Relevance of the input for the scores of these classes (an index or several), after a forward pass.

    Of the net's one input, and of its shape; LRN and activations hand relevance on as it is, maximum pooling to where
    it was found, biases take their part. Raises ArgumentError.
    """
    options = lrp_opts or RelPropOpts()
    blob = _start(net, options)
    scores = net.blob(blob if isinstance(blob, str) else blob[0]).data
    classes = np.ravel(class_inds)
    if classes.dtype.kind not in "iu" or not np.isin(classes, np.arange(scores.shape[1])).all():
        raise ArgumentError(f"lrp: class_inds is {class_inds!r}; give one or more of 0 to {scores.shape[1] - 1}")
    relevance = np.zeros_like(scores)
    relevance[:, classes] = scores[:, classes]
    rules = _rules(options, sum(layer.type == "Input" for layer in net.execution.layers))
    wrt = net.inputs[0]
    with net.running():
        if rules is None:
            found = net.gradient({blob: relevance}, wrt=[wrt])[wrt]
        else:
            with net.rules(rules):
                found = net.gradient({blob: relevance}, wrt=[wrt])[wrt]
        return device.downloaded(found)


def _start(net: Net, options: RelPropOpts) -> str | tuple[str, str]:
    layers = net.execution.layers
    if not -len(layers) <= options.lastlayerindex < len(layers):
        raise ArgumentError(f"lrp: lastlayerindex is {options.lastlayerindex}; the net has {len(layers)} layers")
    layer = layers[options.lastlayerindex]
    if not layer.param.top:
        raise ArgumentError(f"lrp: layer {layer.name!r}, number {options.lastlayerindex}, has no top to start from")
    return layer.param.top[0], layer.name


def _rules(options: RelPropOpts, inputs: int) -> RuleSet | None:
    """The rules that the options mean; None: derivatives."""
    kind = options.relpropformulatype
    if options.maxpoolingtoavgpoolinginbackwardpass:
        raise ArgumentError("lrp: maxpoolingtoavgpoolinginbackwardpass is not there; set it to 0")
    epsilon = products.epsilon(options.epsstab)
    dual = products.alpha_beta(1 + options.alphabeta_beta, options.alphabeta_beta)
    flat, square = products.flat(), products.w_square()
    if kind in (11, 99):
        return None
    if kind == 26:
        return DECONV
    made = {
        0: (epsilon, epsilon, None),
        2: (dual, dual, None),
        100: (dual, epsilon, None),
        54: (epsilon, epsilon, flat),
        56: (epsilon, epsilon, square),
        58: (dual, dual, flat),
        60: (dual, dual, square),
        102: (dual, epsilon, flat),
        104: (dual, epsilon, square),
        114: (epsilon, epsilon, dual),
    }
    if kind not in made:
        raise ArgumentError(f"lrp: relpropformulatype is {kind}; there are {', '.join(map(str, sorted(made)))}, 11, 26")
    convolution, dense, first = made[kind]
    last = options.auxiliaryvariable_maxlayerindexforflatdistinconv
    if first is not None and last < 0:
        raise ArgumentError(
            f"lrp: relpropformulatype {kind} needs auxiliaryvariable_maxlayerindexforflatdistinconv, the last layer of "
            "the second formula; it is below 0"
        )
    return Below(Composite(f"type {kind}", convolution, dense), last + inputs, first)
