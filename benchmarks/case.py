"""What all engines get: a net's definition, weights and inputs, as files in a folder."""

from pathlib import Path

import numpy as np

import caffepy
from benchmarks.nets import NETS
from benchmarks.runs import build, no_filling, unfilled
from caffepy.net.weights import read_definition
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import NetParameter
from caffepy.zoo import nets as zoo

DEFINITION, WEIGHTS, INPUTS = "net.prototxt", "net.caffemodel", "inputs.npz"


def definition(net: str, batch: int, size: int | None = None) -> NetParameter:
    """The net of that name, or of that prototxt, for so many images, of that height and width."""
    known = NETS | zoo.NETS
    if net in known:
        return known[net](batch) if size is None else known[net](batch, size)
    param = NetParameter()
    param.CopyFrom(read_definition(net))
    for layer in param.layer:
        for shape in layer.input_param.shape:
            if len(shape.dim):
                shape.dim[0] = batch
            if size is not None and len(shape.dim) == 4:
                shape.dim[2:] = [size, size]
    return param


def title(net: str) -> str:
    """A short name for tables."""
    return net if net in NETS or net in zoo.NETS else Path(net).stem


def prepare(net: str, folder: Path) -> None:
    """Weights of a net, seeded, into the folder; statistics of BatchNorms are those of the input that they then see."""
    built = build(definition(net, 1))
    built.save(folder / WEIGHTS)


def write(net: str, batch: int, folder: Path, size: int | None = None) -> None:
    """The net's definition, and its inputs, into the folder that `prepare` has put the weights into."""
    param = definition(net, batch, size)
    param.force_backward = True  # without it, a net that has no loss computes no gradients of weights
    (folder / DEFINITION).write_text(prototxt.format(param))
    shapes = {name: blob.shape for name, blob in unfilled(param).blobs.items()}
    chance = np.random.default_rng(1701)
    inputs = [top for layer in param.layer if layer.type == "Input" for top in layer.top]
    np.savez(folder / INPUTS, **{name: chance.standard_normal(shapes[name], np.float32) for name in inputs})


def load(folder: Path, **options: object) -> caffepy.Net:
    """The net of the folder, with its weights and inputs."""
    with no_filling():
        net = caffepy.Net(str(folder / DEFINITION), caffepy.TEST, weights=str(folder / WEIGHTS), **options)
    with np.load(folder / INPUTS) as inputs:
        for name in net.inputs:
            net.blobs[name].data[...] = inputs[name]
    return net
