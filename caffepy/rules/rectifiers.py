"""Rules for rectifiers: guided backpropagation and the deconvolutional net."""

from dataclasses import dataclass

from caffepy.layer import Layer
from caffepy.layers.activation.activations import ELU, ReLU6
from caffepy.layers.activation.prelu import PReLU
from caffepy.layers.activation.relu import ReLU
from caffepy.net.rules import Reads, Rule, Step
from caffepy.rules.by_type import ByType
from caffepy.rules.operations import part_of


@dataclass(frozen=True)
class Guided(Rule):
    """bottom_diff = max(top_diff, 0) * derivative (Springenberg et al. 2015, arXiv 1412.6806).

    The derivative of a rectifier is nowhere below zero, so that the product may be cut off as well as its factor.
    """

    def reads_of(self, layer: Layer) -> Reads:
        """What the derivative reads."""
        return layer.reads

    def backward(self, step: Step) -> None:
        step.layer.backward(step.top, step.propagate_down, step.bottom)
        if step.propagate_down[0]:
            diff = step.bottom[0].diff
            part_of(diff, 1.0, diff)


@dataclass(frozen=True)
class Deconv(Rule):
    """bottom_diff = max(top_diff, 0), whatever went forward (Zeiler & Fergus 2014, arXiv 1311.2901)."""

    reads = ()

    def backward(self, step: Step) -> None:
        if step.propagate_down[0]:
            part_of(step.top[0].diff, 1.0, step.bottom[0].diff)


_RECTIFIERS = (ReLU, ReLU6, PReLU, ELU)

GUIDED = ByType("guided", tuple((kind, Guided()) for kind in _RECTIFIERS))
"""Guided backpropagation: of what a rectifier hands down, only what is above zero."""

DECONV = ByType("deconv", tuple((kind, Deconv()) for kind in _RECTIFIERS))
"""The deconvolutional net: rectifiers rectify what comes down."""
