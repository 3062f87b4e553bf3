"""A small net that takes pictures, in files, for the tests of Classifier and Detector."""

from pathlib import Path

import numpy as np

from tests.nets import make

TEXT = """
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: {} dim: {} dim: {} dim: {} }} }} }}
layer {{ name: "fc" type: "InnerProduct" bottom: "data" top: "fc"
        inner_product_param {{ num_output: 5 weight_filler {{ type: "gaussian" std: 0.3 }} }} }}
layer {{ name: "prob" type: "Softmax" bottom: "fc" top: "prob" }}
"""


def saved_net(folder: Path, num: int = 4, channels: int = 3, height: int = 8, width: int = 8) -> tuple[str, str]:
    """The names of its prototxt and its .caffemodel."""
    text = TEXT.format(num, channels, height, width)
    (folder / "deploy.prototxt").write_text(text)
    make(text).save(folder / "net.caffemodel")
    return str(folder / "deploy.prototxt"), str(folder / "net.caffemodel")


def picture(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width, channels), dtype=np.float32)
