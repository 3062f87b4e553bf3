"""A net as every engine gets it: seeded weights and input, and the score whose gradient is asked for."""

from itertools import pairwise

import numpy as np

import caffepy
from caffepy.layer import Layer
from caffepy.proto.caffe_pb2 import NetParameter

CLASS = 281


def build(definition: NetParameter) -> caffepy.Net:
    """The net with seeded weights and input."""
    caffepy.set_random_seed(1701)
    net = caffepy.Net(definition, caffepy.TEST)
    data = net.blobs["data"]
    data.data[...] = np.random.default_rng(1701).standard_normal(data.shape)
    start = net.layers[0].name
    for before, layer in pairwise(net.layers):
        if layer.type == "BatchNorm":
            net.forward(start=start, end=before.name)
            start = layer.name
            gather_statistics(layer, net.blobs[layer.param.bottom[0]].data)
    return net


def gather_statistics(layer: Layer, values: np.ndarray) -> None:
    """Let a BatchNorm normalise by the statistics of these values, so that a deep net neither grows nor fades."""
    layer.blobs[0].data[...] = values.mean(axis=(0, 2, 3))
    layer.blobs[1].data[...] = values.var(axis=(0, 2, 3))
    layer.blobs[2].data[...] = 1


def one_score(net: caffepy.Net) -> np.ndarray:
    """The diff that asks for the gradient of one class's score, for every image."""
    diff = np.zeros(net.blobs[net.outputs[0]].shape, np.float32)
    diff[:, CLASS] = 1
    return diff
