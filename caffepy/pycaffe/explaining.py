"""Backward passes of other branches of Caffe that explain: modes of excitation backpropagation and of deconvolution
(Zhang et al. 2016, arXiv 1608.00507), and what layer-wise relevance propagation is told (`relevance` does it).

Rules are imported where a mode is set, because few scripts set one.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from caffepy import device
from caffepy.net import Net
from caffepy.net.rules import RuleSet

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
    from caffepy.rules import EXCITATION

    device.set_mode_cpu()
    _mode["rules"] = EXCITATION


def set_mode_eb_gpu() -> None:
    """On the GPU, and let `backward` be excitation backpropagation, until another mode is set."""
    from caffepy.rules import EXCITATION

    device.set_mode_gpu()
    _mode["rules"] = EXCITATION


def set_mode_dc_cpu() -> None:
    """On the CPU, and let `backward` be that of a deconvolutional net, until another mode is set."""
    from caffepy.rules import DECONV

    device.set_mode_cpu()
    _mode["rules"] = DECONV


def set_mode_dc_gpu() -> None:
    """On the GPU, and let `backward` be that of a deconvolutional net, until another mode is set."""
    from caffepy.rules import DECONV

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
