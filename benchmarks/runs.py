"""A net as every engine gets it: seeded weights and input, and the score whose gradient is asked for."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import numpy as np

import caffepy
from caffepy.layer import Layer
from caffepy.proto.caffe_pb2 import NetParameter

CLASS = 281


def build(param: NetParameter) -> caffepy.Net:
    """The net with seeded weights and input."""
    caffepy.set_random_seed(1701)
    chance = np.random.default_rng(1701)
    net = unfilled(param)
    for layer in net.layers:
        for j, blob in enumerate(layer.blobs):
            if j or len(blob.shape) < 2:
                Layer.fill(layer, j)
            else:  # He et al. 2015, arXiv 1502.01852: as large behind a ReLU as before the layer
                inputs = blob.count // blob.shape[0]
                blob.data[...] = chance.standard_normal(blob.shape, np.float32) * np.sqrt(2 / inputs, dtype=np.float32)
    data = net.blobs[net.inputs[0]]
    data.data[...] = np.random.default_rng(1701).standard_normal(data.shape)
    start = net.layers[0].name
    for before, layer in pairwise(net.layers):
        if layer.type == "BatchNorm":
            net.forward(start=start, end=before.name)
            start = layer.name
            gather_statistics(layer, net.blobs[layer.param.bottom[0]].read())
    return net


def unfilled(param: NetParameter) -> caffepy.Net:
    """The net with weights of zeros, which take no time."""
    with no_filling():
        return caffepy.Net(param, caffepy.TEST)


@contextmanager
def no_filling() -> Iterator[None]:
    """Let nets leave their weights at zero meanwhile."""
    fill, Layer.fill = Layer.fill, lambda self, index: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        Layer.fill = fill  # type: ignore[method-assign]


def gather_statistics(layer: Layer, values: np.ndarray) -> None:
    """Let a BatchNorm normalise by the statistics of these values, so that a deep net neither grows nor fades."""
    layer.blobs[0].data[...] = values.mean(axis=(0, 2, 3))
    layer.blobs[1].data[...] = values.var(axis=(0, 2, 3))
    layer.blobs[2].data[...] = 1


def one_score(net: caffepy.Net) -> np.ndarray:
    """The diff that asks for the gradient of one class's score, for every image; or of all of the first output."""
    shape = net.blobs[net.outputs[0]].shape
    diff = np.zeros(shape, np.float32)
    if len(shape) > 1 and shape[1] > CLASS:
        diff[:, CLASS] = 1
    else:
        diff[...] = 1
    return diff
