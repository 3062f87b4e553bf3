"""Small nets: SqueezeNets and MobileNets."""

from caffepy.net_spec import Top
from caffepy.proto.caffe_pb2 import NetParameter
from caffepy.zoo.nets.writer import Writer

FIRES = ((2, 16, 64), (3, 16, 64), (4, 32, 128), (5, 32, 128), (6, 48, 192), (7, 48, 192), (8, 64, 256), (9, 64, 256))
"""Number, squeezed channels, and expanded ones on each side."""


def squeezenet_v1_0(batch: int = 1, size: int = 227) -> NetParameter:
    """Iandola et al. 2016."""
    w = Writer("SqueezeNet v1.0", batch, size)
    top = w.pool("pool1", w.conv_relu("conv1", w.data, 96, 7, stride=2, relu="relu_conv1"), 3, 2)
    return _fires(w, top, pooled=(4, 8), pad=1)  # around the last 1x1 convolution, which v1.1 does without


def squeezenet_v1_1(batch: int = 1, size: int = 227) -> NetParameter:
    """The same authors' release that needs 2.4 times less."""
    w = Writer("SqueezeNet v1.1", batch, size)
    top = w.pool("pool1", w.conv_relu("conv1", w.data, 64, 3, stride=2, relu="relu_conv1"), 3, 2)
    return _fires(w, top, pooled=(3, 5), pad=0)


def _fires(w: Writer, top: Top, pooled: tuple[int, ...], pad: int) -> NetParameter:
    for i, squeezed, expanded in FIRES:
        at = f"fire{i}"
        squeeze = w.conv_relu(f"{at}/squeeze1x1", top, squeezed, 1, relu=f"{at}/relu_squeeze1x1")
        sides = [
            w.conv_relu(f"{at}/expand1x1", squeeze, expanded, 1, relu=f"{at}/relu_expand1x1"),
            w.conv_relu(f"{at}/expand3x3", squeeze, expanded, 3, pad=1, relu=f"{at}/relu_expand3x3"),
        ]
        top = w.add(f"{at}/concat", "Concat", *sides)
        if i in pooled:
            top = w.pool(f"pool{i}", top, 3, 2)
    top = w.conv_relu("conv10", w.dropout("drop9", top), 1000, 1, pad=pad, relu="relu_conv10")
    return w.softmax(w.average_all("pool10", top))


class _Mobile(Writer):
    def unit(self, name: str, bottom: Top, outputs: int, kernel: int = 1, *, relu: bool = True, **settings: int) -> Top:
        top = self.conv(name, bottom, outputs, kernel, bias_term=False, **settings)
        top = self.norm(f"{name}/bn", f"{name}/scale", top)
        return self.relu(f"relu_{name}", top) if relu else top

    def depthwise(self, name: str, bottom: Top, channels: int, stride: int) -> Top:
        return self.unit(name, bottom, channels, 3, pad=1, stride=stride, group=channels)


def mobilenet_v1(batch: int = 1, size: int = 224) -> NetParameter:
    """Howard et al. 2017, table 1."""
    w = _Mobile("MobileNet v1", batch, size)
    top, channels = w.unit("conv1", w.data, 32, 3, pad=1, stride=2), 32
    plan = [("2_1", 64, 1), ("2_2", 128, 2), ("3_1", 128, 1), ("3_2", 256, 2), ("4_1", 256, 1), ("4_2", 512, 2)]
    plan += [(f"5_{i}", 512, 1) for i in range(1, 6)] + [("5_6", 1024, 2), ("6", 1024, 1)]
    for at, outputs, stride in plan:
        top = w.unit(f"conv{at}/sep", w.depthwise(f"conv{at}/dw", top, channels, stride), outputs)
        channels = outputs
    return w.softmax(w.conv("fc7", w.average_all("pool6", top), 1000, 1))


def mobilenet_v2(batch: int = 1, size: int = 224) -> NetParameter:
    """Sandler et al. 2018, table 2; ReLU6 is ReLU, as in Caffe's models of it."""
    w = _Mobile("MobileNet v2", batch, size)
    top, channels = w.unit("conv1", w.data, 32, 3, pad=1, stride=2), 32
    plan = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for stage, (factor, outputs, blocks, first_stride) in enumerate(plan, start=2):
        for i in range(1, blocks + 1):
            at, stride, bottom = f"conv{stage}_{i}", first_stride if i == 1 else 1, top
            wide = factor * channels
            if factor > 1:
                top = w.unit(f"{at}/expand", top, wide)
            top = w.unit(f"{at}/linear", w.depthwise(f"{at}/dwise", top, wide, stride), outputs, relu=False)
            if stride == 1 and channels == outputs:
                top = w.add(f"block_{stage}_{i}", "Eltwise", bottom, top)
            channels = outputs
    top = w.unit("conv9", top, 1280)
    return w.softmax(w.conv("fc10", w.average_all("pool9", top), 1000, 1))
