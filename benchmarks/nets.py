"""The nets that are measured where nobody asks for others: of caffepy.zoo, and a tiny one for emulated GPUs."""

from collections.abc import Callable

from caffepy.proto.caffe_pb2 import NetParameter
from caffepy.zoo import nets
from caffepy.zoo.nets.writer import Writer

NETS: dict[str, Callable[[int], NetParameter]] = {
    "caffenet": nets.caffenet,
    "vgg16": nets.vgg16,
    "googlenet": nets.googlenet,
    "squeezenet": nets.squeezenet_v1_1,
    "resnet50": nets.resnet50,
    "mobilenet": nets.mobilenet_v1,
}
"""By name, the net of a batch size."""


def tiny(batch: int) -> NetParameter:
    """No published net: most layer types of the others, small enough for an emulated GPU."""
    w = Writer("tiny", batch, 12)
    top = w.lrn("norm1", w.pool("pool1", w.conv_relu("conv1", w.data, 8, 3, pad=1), 3, 2))
    main = w.norm("bn2", "scale2", w.conv("conv2", top, 8, 3, pad=1, group=2))
    top = w.relu("relu2", w.add("sum", "Eltwise", main, top))
    top = w.add("both", "Concat", top, w.conv_relu("conv3", top, 8, 1))
    return w.softmax(w.fc("fc", w.dropout("drop", w.average_all("pool2", top)), 10))
