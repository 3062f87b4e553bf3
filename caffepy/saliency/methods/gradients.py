"""One backward pass: the gradient, and what rules for rectifiers make of it."""

from typing import Any

from caffepy.rules import DECONV, GUIDED
from caffepy.saliency.method import method
from caffepy.saliency.operations import product_of
from caffepy.saliency.subject import Subject


@method("gradient", "largest")
def gradient(subject: Subject) -> list[Any]:
    """dS/dx (Simonyan, Vedaldi & Zisserman 2013, arXiv 1312.6034)."""
    return subject.gradients()


@method("input-x-gradient", "sum")
def input_x_gradient(subject: Subject) -> list[Any]:
    """x * dS/dx (Shrikumar et al. 2016, arXiv 1605.01713)."""
    data, products = subject.data(subject.layer), []
    for found in subject.gradients():
        products.append(subject.new(found.shape))
        product_of(data, found, products[-1])
    return products


@method("deconvnet", "largest")
def deconvnet(subject: Subject) -> list[Any]:
    """Backward with rectifiers that rectify what comes down (Zeiler & Fergus 2014, arXiv 1311.2901)."""
    return subject.gradients(rules=DECONV)


@method("guided-backprop", "largest")
def guided_backprop(subject: Subject) -> list[Any]:
    """Backward with rectifiers that hand down only what is above zero (Springenberg et al. 2015, arXiv 1412.6806)."""
    return subject.gradients(rules=GUIDED)
