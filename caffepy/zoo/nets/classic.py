"""AlexNet, CaffeNet and VGG's nets."""

from collections.abc import Sequence

from caffepy.net_spec import Top
from caffepy.proto.caffe_pb2 import NetParameter
from caffepy.zoo.nets.writer import Writer


def alexnet(batch: int = 1, size: int = 227) -> NetParameter:
    """Krizhevsky, Sutskever & Hinton 2012, in Caffe's one-column form: normalisation before pooling."""
    w = Writer("AlexNet", batch, size)
    top = w.pool("pool1", w.lrn("norm1", w.conv_relu("conv1", w.data, 96, 11, stride=4)), 3, 2)
    top = w.pool("pool2", w.lrn("norm2", w.conv_relu("conv2", top, 256, 5, pad=2, group=2)), 3, 2)
    return _three_and_three(w, top)


def caffenet(batch: int = 1, size: int = 227) -> NetParameter:
    """AlexNet with pooling before normalisation (Jia et al. 2014)."""
    w = Writer("CaffeNet", batch, size)
    top = w.lrn("norm1", w.pool("pool1", w.conv_relu("conv1", w.data, 96, 11, stride=4), 3, 2))
    top = w.lrn("norm2", w.pool("pool2", w.conv_relu("conv2", top, 256, 5, pad=2, group=2), 3, 2))
    return _three_and_three(w, top)


def _three_and_three(w: Writer, top: Top) -> NetParameter:
    top = w.conv_relu("conv3", top, 384, 3, pad=1)
    top = w.conv_relu("conv4", top, 384, 3, pad=1, group=2)
    top = w.pool("pool5", w.conv_relu("conv5", top, 256, 3, pad=1, group=2), 3, 2)
    return _classify(w, top)


def _classify(w: Writer, top: Top) -> NetParameter:
    for number in (6, 7):
        top = w.dropout(f"drop{number}", w.relu(f"relu{number}", w.fc(f"fc{number}", top, 4096)))
    return w.softmax(w.fc("fc8", top, 1000))


def vgg16(batch: int = 1, size: int = 224) -> NetParameter:
    """Simonyan & Zisserman 2015, table 1, configuration D."""
    w = Writer("VGG-16", batch, size)
    return _classify(w, vgg_stages(w, (2, 2, 3, 3, 3))[-1][1])


def vgg19(batch: int = 1, size: int = 224) -> NetParameter:
    """Simonyan & Zisserman 2015, table 1, configuration E."""
    w = Writer("VGG-19", batch, size)
    return _classify(w, vgg_stages(w, (2, 2, 4, 4, 4))[-1][1])


def vgg_stages(w: Writer, depths: Sequence[int], first_pad: int = 1) -> list[tuple[Top, Top]]:
    """Of the stages, of so many convolutions each, the last one's top and the pool behind it."""
    top, found = w.data, []
    for stage, depth in enumerate(depths, start=1):
        for i in range(1, depth + 1):
            pad = first_pad if (stage, i) == (1, 1) else 1
            top = w.conv_relu(f"conv{stage}_{i}", top, min(512, 32 * 2**stage), 3, pad=pad)
        found.append((top, w.pool(f"pool{stage}", top, 2, 2)))
        top = found[-1][1]
    return found
