"""Backward passes of other branches of Caffe that explain: modes of excitation backpropagation and of deconvolution
(Zhang et al. 2016, arXiv 1608.00507), and layer-wise relevance propagation (Lapuschkin et al. 2016, JMLR 17).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from caffepy.rules import DECONV, EXCITATION, Composite, products
from caffepy.rules.folding import PRODUCTS

_mode: dict[str, RuleSet | None] = {"rules": None}


def set_mode_cpu() -> None:
    """Run every following pass on the CPU, backward by derivatives."""
    device.set_mode_cpu()
    _mode["rules"] = None


def set_mode_gpu() -> None:
    """Run every following pass on the GPU that `set_device` chose, backward by derivatives; see device.set_mode_gpu."""
    device.set_mode_gpu()
    _mode["rules"] = None


def set_mode_eb_cpu() -> None:
    """On the CPU, and let `backward` be excitation backpropagation, until another mode is set."""
    device.set_mode_cpu()
    _mode["rules"] = EXCITATION


def set_mode_eb_gpu() -> None:
    """On the GPU, and let `backward` be excitation backpropagation, until another mode is set."""
    device.set_mode_gpu()
    _mode["rules"] = EXCITATION


def set_mode_dc_cpu() -> None:
    """On the CPU, and let `backward` be that of a deconvolutional net, until another mode is set."""
    device.set_mode_cpu()
    _mode["rules"] = DECONV


def set_mode_dc_gpu() -> None:
    """On the GPU, and let `backward` be that of a deconvolutional net, until another mode is set."""
    device.set_mode_gpu()
    _mode["rules"] = DECONV


@contextmanager
def by_mode(net: Net) -> Iterator[None]:
    """Backward passes inside obey the mode, unless the net has rules of its own."""
    if _mode["rules"] is None or net.execution.rules is not None:
        yield
        return
    with net.rules(_mode["rules"]):
        yield


# ---- net.lrp


class RelPropOpts:
    """Settings of net.lrp: which formula each layer hands relevance down by.

    relpropformulatype   0 epsilon; 2 alpha and beta; 100 alpha and beta for convolutions, epsilon for inner products;
                         54, 58, 102 these three, and flat for the first layers; 56, 60, 104 and the weights' squares
                         for them; 114 epsilon, and alpha and beta for them; 26 the deconvolutional net; 11 and 99 the
                         gradient
    epsstab              epsilon
    alphabeta_beta       beta; alpha is 1 + beta
    auxiliaryvariable_maxlayerindexforflatdistinconv   the last of the first layers, counted without Input layers
    lastlayerindex       where relevance starts, from the end; -2 is what enters the last layer
    """

    def __init__(self) -> None:
        self.relpropformulatype = 0
        self.epsstab = 1.0
        self.alphabeta_beta = 0.1
        self.auxiliaryvariable_maxlayerindexforflatdistinconv = -1
        self.lastlayerindex = -2
        self.firstlayerindex = 0
        self.numclasses = 1000
        self.codeexectype = self.lrn_forward_type = self.biastreatmenttype = 0
        self.lrn_backward_type = 1
        self.maxpoolingtoavgpoolinginbackwardpass = 0


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
        if isinstance(found, np.ndarray):
            return found
        host = np.empty(found.shape, np.float32)
        running = device.current()
        assert not isinstance(running, device.Cpu)
        running.download(found, host)
        return host


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
