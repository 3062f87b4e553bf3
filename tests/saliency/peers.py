"""Nets and images on which caffepy's maps are compared with those of Captum, zennit and pytorch-grad-cam."""

import numpy as np

import caffepy as caffe
from caffepy import zoo
from caffepy.saliency import METHODS
from tests.nets import make
from tests.shared import ROOT, shared

GOLDEN = ROOT / "tests" / "golden" / "saliency"

LENET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 1 dim: 18 dim: 18 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 6 kernel_size: 3 } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2"
        convolution_param { num_output: 8 kernel_size: 3 } }
layer { name: "relu2" type: "ReLU" bottom: "conv2" top: "conv2" }
layer { name: "pool2" type: "Pooling" bottom: "conv2" top: "pool2" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "fc1" type: "InnerProduct" bottom: "pool2" top: "fc1" inner_product_param { num_output: 20 } }
layer { name: "relu3" type: "ReLU" bottom: "fc1" top: "fc1" }
layer { name: "fc2" type: "InnerProduct" bottom: "fc1" top: "fc2" inner_product_param { num_output: 5 } }
layer { name: "prob" type: "Softmax" bottom: "fc2" top: "prob" }
"""


def lenet() -> tuple[caffe.Net, np.ndarray, list[int]]:
    """A small net of noise: (net, images, targets)."""
    net, rng = make(LENET), np.random.default_rng(0)
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] = rng.normal(0, 1 / np.sqrt(np.prod(blob.shape[1:]) or 10), blob.shape)
    return net, rng.normal(0, 1, (2, 1, 18, 18)).astype(np.float32), [1, 3]


def average() -> tuple[caffe.Net, np.ndarray, list[int]]:
    """The same with means in place of maxima: Captum's DeepLIFT is not complete through maximum pooling."""
    net = make(LENET.replace("pooling_param {", "pooling_param { pool: AVE"))
    source, images, targets = lenet()
    for name, blobs in source.params.items():
        for ours, theirs in zip(net.params[name], blobs, strict=True):
            ours.data[...] = theirs.data
    return net, images, targets


def fashion() -> tuple[caffe.Net, np.ndarray, list[int]]:
    """The embedded net and three of its samples."""
    model = zoo.fashion_mnist()
    chosen = [model.samples[i] for i in (0, 5, 8)]
    pictures = np.stack([caffe.io.load_image(sample.picture, color=False) for sample in chosen])
    return model.net(), np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)), [sample.label for sample in chosen]


def squeezenet() -> tuple[caffe.Net, np.ndarray, list[int]]:
    """SqueezeNet v1.1 and an image of coarse noise."""
    folder = shared("models/squeezenet-v1.1")
    net = caffe.Net(str(folder / "deploy.prototxt"), str(folder / "squeezenet_v1.1.caffemodel"), caffe.TEST)
    coarse = np.random.default_rng(0).normal(0, 60, (1, 3, 15, 15))
    image = np.repeat(np.repeat(coarse, 16, axis=2), 16, axis=3)[:, :, :227, :227]
    return net, np.ascontiguousarray(image, np.float32), [281]


NETS = {"lenet": lenet, "average": average, "fashion": fashion, "squeezenet": squeezenet}

LRP = ("epsilon-plus", "epsilon-alpha2-beta1", "epsilon-plus-flat", "epsilon-alpha2-beta1-flat", "epsilon-gamma-box")
BOX = 3.0, 3.0
"""How far the box goes below and above 0, in standard deviations of the images."""

_SAME = ("gradient", "input-x-gradient", "guided-backprop", "deconvnet")
_LAYERS = {"lenet": "conv2", "average": "conv2", "fashion": "conv3", "squeezenet": "fire9/concat"}
_CAMS = ("grad-cam", "grad-cam-plus-plus", "layer-cam", "hires-cam")


def compared(name: str) -> list[str]:
    """The maps that are compared on a net."""
    maps = [*_SAME, "integrated-gradients", *_CAMS]
    if name != "squeezenet":
        maps.append("occlusion")
    if name != "fashion":  # zennit and Captum have no rule for LRN
        maps += [f"lrp {composite}" for composite in LRP]
        maps.append("excitation-backprop")
    return [*maps, "deeplift"] if name == "average" else maps


def ours(name: str, what: str, net: caffe.Net, images: np.ndarray, targets: list[int]) -> np.ndarray:
    """caffepy's map."""
    method, _, composite = what.partition(" ")
    options: dict[str, object] = {}
    if composite:
        options = {"composite": composite, "low": -bound(images), "high": bound(images)}
    elif method in _CAMS:
        options = {"layer": _LAYERS[name]}
    elif method == "integrated-gradients":
        options = {"steps": steps(name), "error": None}
    elif method == "occlusion":
        options = {"window": window(name), "stride": 3}
    found: np.ndarray = METHODS[method](net, images, targets, **options).numpy()
    return found


def bound(images: np.ndarray) -> float:
    """The box's bound."""
    return float(3 * images.std())


def steps(name: str) -> int:
    """Of integrated gradients; on SqueezeNet so few that none meets a rectifier within rounding of its step."""
    return 3 if name == "squeezenet" else 50


def window(name: str) -> int:
    """Occlusion's; it goes evenly into the image."""
    return 7 if name == "fashion" else 6


def layer_of(name: str) -> str:
    """The layer that CAMs are of, as PyTorch's module."""
    return {"lenet": "relu2", "average": "relu2", "fashion": "relu3", "squeezenet": "fire9/concat"}[name]


def kept(name: str, values: np.ndarray) -> np.ndarray:
    """What a golden file holds of a map: all of it, of SqueezeNet's every 97th value."""
    return values.reshape(-1)[::97] if values.size > 20_000 else values
