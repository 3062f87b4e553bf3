"""The nets measured, written from their papers: CaffeNet, VGG-16, GoogLeNet, SqueezeNet v1.1, ResNet-50."""

from collections.abc import Callable

from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import NetParameter


class Builder:
    """Writes a net's prototxt layer by layer; every method takes a bottom's name and returns the top's."""

    def __init__(self, name: str, batch: int, size: int) -> None:
        shape = f"input_param {{ shape {{ dim: {batch} dim: 3 dim: {size} dim: {size} }} }}"
        self.lines = [f'name: "{name}"', f'layer {{ name: "data" type: "Input" top: "data" {shape} }}']

    def net(self) -> NetParameter:
        """What was written."""
        return prototxt.parse("\n".join(self.lines), NetParameter)

    def layer(self, name: str, kind: str, bottoms: list[str], body: str = "", top: str | None = None) -> str:
        """Any layer."""
        top = top or name
        wires = " ".join(f'bottom: "{bottom}"' for bottom in bottoms)
        self.lines.append(f'layer {{ name: "{name}" type: "{kind}" {wires} top: "{top}" {body} }}')
        return top

    def conv(
        self, name: str, bottom: str, outputs: int, kernel: int, *, stride: int = 1, pad: int = 0, rest: str = ""
    ) -> str:
        """A convolution."""
        window = f"num_output: {outputs} kernel_size: {kernel} stride: {stride} pad: {pad} {rest}"
        return self.layer(name, "Convolution", [bottom], f"convolution_param {{ {window} {MSRA} }}")

    def conv_relu(
        self, name: str, bottom: str, outputs: int, kernel: int, *, stride: int = 1, pad: int = 0, rest: str = ""
    ) -> str:
        """A convolution and a ReLU in place."""
        return self.relu(self.conv(name, bottom, outputs, kernel, stride=stride, pad=pad, rest=rest))

    def relu(self, bottom: str) -> str:
        """In place."""
        return self.layer(f"{bottom}_relu", "ReLU", [bottom], top=bottom)

    def pool(self, name: str, bottom: str, window: str) -> str:
        """A pooling."""
        return self.layer(name, "Pooling", [bottom], f"pooling_param {{ {window} }}")

    def lrn(self, name: str, bottom: str) -> str:
        """Across five channels."""
        return self.layer(name, "LRN", [bottom], "lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 }")

    def fc(self, name: str, bottom: str, outputs: int) -> str:
        """An inner product."""
        return self.layer(name, "InnerProduct", [bottom], f"inner_product_param {{ num_output: {outputs} {MSRA} }}")

    def dropout(self, bottom: str) -> str:
        """In place."""
        return self.layer(f"{bottom}_drop", "Dropout", [bottom], top=bottom)


MSRA = 'weight_filler { type: "msra" }'
HALVE = "pool: MAX kernel_size: 3 stride: 2"


def caffenet(batch: int) -> NetParameter:
    """AlexNet's single-tower sibling with pooling before normalisation (Krizhevsky et al. 2012; Jia et al. 2014)."""
    b = Builder("CaffeNet", batch, 227)
    top = b.conv_relu("conv1", "data", 96, 11, stride=4)
    top = b.lrn("norm1", b.pool("pool1", top, HALVE))
    top = b.conv_relu("conv2", top, 256, 5, pad=2, rest="group: 2")
    top = b.lrn("norm2", b.pool("pool2", top, HALVE))
    top = b.conv_relu("conv3", top, 384, 3, pad=1)
    top = b.conv_relu("conv4", top, 384, 3, pad=1, rest="group: 2")
    top = b.pool("pool5", b.conv_relu("conv5", top, 256, 3, pad=1, rest="group: 2"), HALVE)
    top = b.dropout(b.relu(b.fc("fc6", top, 4096)))
    top = b.dropout(b.relu(b.fc("fc7", top, 4096)))
    b.layer("prob", "Softmax", [b.fc("fc8", top, 1000)])
    return b.net()


def vgg16(batch: int) -> NetParameter:
    """Simonyan & Zisserman 2015, table 1, configuration D."""
    b = Builder("VGG-16", batch, 224)
    top = "data"
    for stage, (outputs, depth) in enumerate([(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)], start=1):
        for i in range(1, depth + 1):
            top = b.conv_relu(f"conv{stage}_{i}", top, outputs, 3, pad=1)
        top = b.pool(f"pool{stage}", top, "pool: MAX kernel_size: 2 stride: 2")
    for name in ("fc6", "fc7"):
        top = b.dropout(b.relu(b.fc(name, top, 4096)))
    b.layer("prob", "Softmax", [b.fc("fc8", top, 1000)])
    return b.net()


INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
"""Channels of 1x1; of 3x3, reduced and full; of 5x5, reduced and full; of the projection after pooling."""


def googlenet(batch: int) -> NetParameter:
    """Szegedy et al. 2015, table 1, without the auxiliary classifiers."""
    b = Builder("GoogLeNet", batch, 224)
    top = b.lrn("norm1", b.pool("pool1", b.conv_relu("conv1", "data", 64, 7, stride=2, pad=3), HALVE))
    top = b.conv_relu("conv2", b.conv_relu("conv2_reduce", top, 64, 1), 192, 3, pad=1)
    top = b.pool("pool2", b.lrn("norm2", top), HALVE)
    for name, (one, reduce3, three, reduce5, five, project) in INCEPTIONS.items():
        towers = [
            b.conv_relu(f"{name}_1x1", top, one, 1),
            b.conv_relu(f"{name}_3x3", b.conv_relu(f"{name}_3x3_reduce", top, reduce3, 1), three, 3, pad=1),
            b.conv_relu(f"{name}_5x5", b.conv_relu(f"{name}_5x5_reduce", top, reduce5, 1), five, 5, pad=2),
            b.conv_relu(
                f"{name}_project", b.pool(f"{name}_pool", top, "pool: MAX kernel_size: 3 stride: 1 pad: 1"), project, 1
            ),
        ]
        top = b.layer(f"{name}_output", "Concat", towers)
        if name in ("3b", "4e"):
            top = b.pool(f"{name}_halved", top, HALVE)
    top = b.dropout(b.pool("pool5", top, "pool: AVE kernel_size: 7"))
    b.layer("prob", "Softmax", [b.fc("classifier", top, 1000)])
    return b.net()


def squeezenet(batch: int) -> NetParameter:
    """Version 1.1 of Iandola et al. 2016."""
    b = Builder("SqueezeNet v1.1", batch, 227)
    top = b.pool("pool1", b.conv_relu("conv1", "data", 64, 3, stride=2), HALVE)
    for i, squeezed, expanded in [
        (2, 16, 64), (3, 16, 64), (4, 32, 128), (5, 32, 128), (6, 48, 192), (7, 48, 192), (8, 64, 256), (9, 64, 256)
    ]:  # fmt: skip
        squeeze = b.conv_relu(f"fire{i}_squeeze", top, squeezed, 1)
        sides = [
            b.conv_relu(f"fire{i}_1x1", squeeze, expanded, 1),
            b.conv_relu(f"fire{i}_3x3", squeeze, expanded, 3, pad=1),
        ]
        top = b.layer(f"fire{i}", "Concat", sides)
        if i in (3, 5):
            top = b.pool(f"pool{i}", top, HALVE)
    top = b.pool("pool10", b.conv_relu("conv10", b.dropout(top), 1000, 1), "pool: AVE global_pooling: true")
    b.layer("prob", "Softmax", [top])
    return b.net()


def resnet50(batch: int) -> NetParameter:
    """He, Zhang, Ren & Sun 2016, table 1, the stride in each stage's first 1x1 convolution as in their own model."""
    b = Builder("ResNet-50", batch, 224)

    def unit(name: str, bottom: str, outputs: int, kernel: int, stride: int = 1) -> str:
        top = b.conv(name, bottom, outputs, kernel, stride=stride, pad=kernel // 2, rest="bias_term: false")
        b.layer(f"{name}_bn", "BatchNorm", [top], top=top)
        return b.layer(f"{name}_scale", "Scale", [top], "scale_param { bias_term: true }", top=top)

    top = b.pool("pool1", b.relu(unit("conv1", "data", 64, 7, 2)), HALVE)
    for stage, (width, blocks) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)], start=2):
        for i in range(blocks):
            name, stride = f"res{stage}{'abcdef'[i]}", 2 if i == 0 and stage > 2 else 1
            side = unit(f"{name}_branch1", top, 4 * width, 1, stride) if i == 0 else top
            main = b.relu(unit(f"{name}_branch2a", top, width, 1, stride))
            main = unit(f"{name}_branch2c", b.relu(unit(f"{name}_branch2b", main, width, 3)), 4 * width, 1)
            top = b.relu(b.layer(name, "Eltwise", [side, main]))
    b.layer("prob", "Softmax", [b.fc("fc1000", b.pool("pool5", top, "pool: AVE kernel_size: 7"), 1000)])
    return b.net()


def tiny(batch: int) -> NetParameter:
    """No published net: most layer types of the others, small enough for an emulated GPU."""
    b = Builder("tiny", batch, 12)
    top = b.lrn("norm1", b.pool("pool1", b.conv_relu("conv1", "data", 8, 3, pad=1), HALVE))
    main = b.conv("conv2", top, 8, 3, pad=1, rest="group: 2")
    b.layer("conv2_bn", "BatchNorm", [main], top=main)
    b.layer("conv2_scale", "Scale", [main], "scale_param { bias_term: true }", top=main)
    top = b.relu(b.layer("sum", "Eltwise", [main, top]))
    top = b.layer("both", "Concat", [top, b.conv_relu("conv3", top, 8, 1)])
    top = b.dropout(b.pool("pool2", top, "pool: AVE global_pooling: true"))
    b.layer("prob", "Softmax", [b.fc("fc", top, 10)])
    return b.net()


NETS: dict[str, Callable[[int], NetParameter]] = {
    f.__name__: f for f in (caffenet, vgg16, googlenet, squeezenet, resnet50)
}
"""By name, the net of a batch size."""
