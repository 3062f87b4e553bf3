"""Nets for the commands: one image in, scores out."""

import numpy as np

from caffepy import TEST, Net, set_random_seed
from caffepy.errors import ArgumentError
from caffepy.filler import Filler
from caffepy.limits import COMPUTES, Limits
from caffepy.proto.caffe_pb2 import FillerParameter


def load_net(model: str, weights: str | None, limits: Limits = COMPUTES, *, random_weights: bool = False) -> Net:
    """A net whose only input is one image, (1, channels, height, width), whatever batch the prototxt gives."""
    if random_weights:
        set_random_seed(0)
    net = Net(model, TEST, weights=weights, limits=limits)
    if random_weights:
        fill_at_random(net)
    shapes = {name: net.blob(name).shape for name in net.inputs}
    if len(shapes) != 1 or not all(len(shape) == 4 for shape in shapes.values()):
        found = ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "none"
        raise ArgumentError(
            f"{model}: the net's inputs are {found}; expected one, (N, channels, height, width): give a "
            "deploy.prototxt whose input is one picture"
        )
    set_batch(net, 1)
    return net


def set_batch(net: Net, images: int) -> None:
    """Reshape the net's only input to that many images, and what follows from it."""
    blob = net.blob(net.inputs[0])
    blob.reshape(images, *blob.shape[1:])
    net.reshape()


def fill_at_random(net: Net) -> None:
    """Fill the weights that the prototxt leaves at zero as He et al. 2015 do: a deploy.prototxt names no fillers."""
    for layer in net.execution.layers:
        weights = layer.blobs[0].data if layer.blobs else np.empty(0, np.float32)
        if weights.ndim > 1 and not weights.any():
            Filler(FillerParameter(type="msra"), weights.shape, layer.error).fill(weights)
