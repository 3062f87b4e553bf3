"""Small trained-looking models and pictures in a temporary folder, for the commands."""

from pathlib import Path

import numpy as np
from PIL import Image

import caffepy as caffe

DEPLOY = """
name: "small"
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 4 dim: {channels} dim: 12 dim: 10 }} }} }}
layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param {{ num_output: 6 kernel_size: 3
        {filler} }} }}
layer {{ name: "relu" type: "ReLU" bottom: "conv" top: "conv" }}
layer {{ name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param {{ num_output: 7 {filler} }} }}
layer {{ name: "prob" type: "Softmax" bottom: "fc" top: "prob" }}
"""
LABELS = ["tabby, tabby cat", "tiger cat", "crane", "snail", "crane", "dog, hound", "Egyptian cat"]


def write(folder: Path, channels: int = 3) -> dict[str, str]:
    """Paths of a model, its weights, its labels and a picture of 16 x 20 pixels."""
    paths = {
        "model": folder / "deploy.prototxt",
        "weights": folder / "small.caffemodel",
        "labels": folder / "labels.txt",
        "image": folder / "picture.png",
    }
    trained = folder / "trained.prototxt"
    trained.write_text(DEPLOY.format(channels=channels, filler='weight_filler { type: "gaussian" std: 0.01 }'))
    paths["model"].write_text(DEPLOY.format(channels=channels, filler=""))
    caffe.set_random_seed(3)
    caffe.Net(str(trained), caffe.TEST).save(paths["weights"])
    paths["labels"].write_text("\n".join(f"n{i:08} {label}" for i, label in enumerate(LABELS)))
    pixels = np.random.default_rng(0).integers(0, 256, (16, 20, 3), np.uint8)
    Image.fromarray(pixels).save(paths["image"])
    return {key: str(path) for key, path in paths.items()}
