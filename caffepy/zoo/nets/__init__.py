"""Published nets as functions of batch and image size: NetParameters without weights, named as their authors do."""

from collections.abc import Callable

from caffepy.proto.caffe_pb2 import NetParameter
from caffepy.zoo.nets.classic import alexnet, caffenet, vgg16, vgg19
from caffepy.zoo.nets.dense import densenet121
from caffepy.zoo.nets.inception import googlenet, inception_v3
from caffepy.zoo.nets.mobile import mobilenet_v1, mobilenet_v2, squeezenet_v1_0, squeezenet_v1_1
from caffepy.zoo.nets.pixels import fcn8s, ssd300
from caffepy.zoo.nets.residual import resnet18, resnet50, resnet101

__all__ = [
    "NETS",
    "alexnet",
    "caffenet",
    "densenet121",
    "fcn8s",
    "googlenet",
    "inception_v3",
    "mobilenet_v1",
    "mobilenet_v2",
    "resnet18",
    "resnet50",
    "resnet101",
    "squeezenet_v1_0",
    "squeezenet_v1_1",
    "ssd300",
    "vgg16",
    "vgg19",
]

NETS: dict[str, Callable[..., NetParameter]] = {
    f.__name__: f
    for f in (
        alexnet,
        caffenet,
        vgg16,
        vgg19,
        googlenet,
        inception_v3,
        resnet18,
        resnet50,
        resnet101,
        squeezenet_v1_0,
        squeezenet_v1_1,
        mobilenet_v1,
        mobilenet_v2,
        densenet121,
        fcn8s,
        ssd300,
    )
}
"""By name; each takes `batch` and `size`, the images' height and width."""
