"""Targets in nets that detect: a box's score, by the prior that it came from."""

from dataclasses import dataclass

import numpy as np

from caffepy.errors import ArgumentError
from caffepy.layers.detection.detection_output import DetectionOutput
from caffepy.net import Net
from caffepy.saliency.target import Unit


@dataclass(frozen=True)
class Box:
    """The score of one detection of an SSD: row `row` of DetectionOutput's top, for one image.

    Explained is the number that the prior gives the label, before the softmax over labels where there is one.
    """

    row: int = 0

    def unit(self, net: Net) -> Unit:
        """The blob's value; raises ArgumentError where the net detects nothing or has no such row."""
        layers = net.execution.layers
        found = [i for i, layer in enumerate(layers) if isinstance(layer, DetectionOutput)]
        if not found:
            raise ArgumentError("a Box is a detection of an SSD, and this net has no DetectionOutput layer")
        layer, confidences = layers[found[-1]], net.wiring.sources[found[-1]][1]
        rows = net.blob(layer.param.top[0]).read().reshape(-1, 7)
        if not 0 <= self.row < len(rows) or rows[self.row, 1] < 0:
            raise ArgumentError(f"detection {self.row} of {len(rows) if (rows[:, 1] >= 0).all() else 0}; give less")
        label, confidence = int(rows[self.row, 1]), rows[self.row, 2]
        classes = layer.param.detection_output_param.num_classes
        blob = net.wiring.blobs[net.wiring.blob(confidences)]
        values = net.blob(blob).read().reshape(-1, classes)
        prior = int(np.argmin(np.abs(values[:, label] - confidence)))
        return _before_softmax(net, confidences[0], prior, label) or Unit(blob, prior * classes + label)


def _before_softmax(net: Net, writer: int, prior: int, label: int) -> Unit | None:
    """The prior's value of the label in what the softmax gets, (N, priors, classes)."""
    while net.execution.layers[writer].type in ("Flatten", "Reshape"):
        writer = net.wiring.sources[writer][0][0]
    if net.execution.layers[writer].type != "Softmax":
        return None
    source = net.wiring.sources[writer][0]
    name = net.wiring.blobs[net.wiring.blob(source)]
    if len(net.blob(name).shape) != 3:
        return None
    return Unit((name, net.execution.layers[source[0]].name), prior, label)
