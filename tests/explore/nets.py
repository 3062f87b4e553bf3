"""Nets to look into."""

from pathlib import Path

import numpy as np

import caffepy
from caffepy import layers as L
from caffepy import params as P
from caffepy.net_spec import NetSpec

NORMAL = {"type": "gaussian", "std": 0.3}


def branches(blocks: int = 2) -> str:
    """The prototxt of a net with that many blocks of two branches each."""
    net = NetSpec()
    net.data = L.Input(shape={"dim": [4, 3, 12, 10]})
    net.conv1 = L.Convolution(net.data, num_output=4, kernel_size=3, weight_filler=NORMAL)
    net.relu1 = L.ReLU(net.conv1, in_place=True)
    last = net.relu1
    for i in range(blocks):
        left = L.Convolution(last, num_output=3, kernel_size=1, weight_filler=NORMAL)
        right = L.Convolution(last, num_output=3, kernel_size=3, pad=1, weight_filler=NORMAL)
        relu = L.ReLU(right, in_place=True)
        last = L.Concat(left, relu)
        for name, top in (("left", left), ("right", right), ("relu", relu), ("output", last)):
            setattr(net, f"block{i}/{name}", top)
    net.pool = L.Pooling(last, pool=P.Pooling.AVE, global_pooling=True)
    net.fc = L.InnerProduct(net.pool, num_output=7, weight_filler=NORMAL)
    net.prob = L.Softmax(net.fc)
    return str(net.to_proto())


def saved(folder: Path, prototxt: str, name: str = "net") -> tuple[Path, Path]:
    """The model's files, with weights drawn by its fillers."""
    model, weights = folder / f"{name}.prototxt", folder / f"{name}.caffemodel"
    model.write_text(prototxt)
    caffepy.set_random_seed(3)
    with caffepy.Net(str(model), caffepy.TEST) as net:
        net.save(str(weights))
    return model, weights


def picture(folder: Path, name: str = "picture.png", seed: int = 0) -> Path:
    """A picture of colours at random."""
    from PIL import Image

    path = folder / name
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (20, 24, 3), np.uint8)).save(path)
    return path
