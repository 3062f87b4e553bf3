"""ResNets."""

from collections.abc import Sequence

from caffepy.net_spec import Top
from caffepy.proto.caffe_pb2 import NetParameter
from caffepy.zoo.nets.writer import Writer


def resnet18(batch: int = 1, size: int = 224) -> NetParameter:
    """He, Zhang, Ren & Sun 2016, table 1, with blocks of two 3x3 convolutions."""
    return _resnet("ResNet-18", (2, 2, 2, 2), batch, size, deep=False)


def resnet50(batch: int = 1, size: int = 224) -> NetParameter:
    """He, Zhang, Ren & Sun 2016, table 1, the stride in each stage's first 1x1 convolution as in their own model."""
    return _resnet("ResNet-50", (3, 4, 6, 3), batch, size, deep=True)


def resnet101(batch: int = 1, size: int = 224) -> NetParameter:
    """Likewise."""
    return _resnet("ResNet-101", (3, 4, 23, 3), batch, size, deep=True)


def _resnet(name: str, depths: Sequence[int], batch: int, size: int, *, deep: bool) -> NetParameter:
    w = Writer(name, batch, size)

    def unit(name: str, short: str, bottom: Top, outputs: int, kernel: int, stride: int = 1) -> Top:
        top = w.conv(name, bottom, outputs, kernel, stride=stride, pad=kernel // 2, bias_term=False)
        return w.norm(f"bn{short}", f"scale{short}", top)

    top = w.pool("pool1", w.relu("conv1_relu", unit("conv1", "_conv1", w.data, 64, 7, 2)), 3, 2)
    for stage, blocks in enumerate(depths, start=2):
        width = 32 * 2 ** (stage - 1)
        outputs = 4 * width if deep else width
        for i in range(blocks):
            at = f"{stage}{'abcdefghijklmnopqrstuvw'[i]}" if blocks < 20 or i == 0 else f"{stage}b{i}"
            stride, side = 2 if i == 0 and stage > 2 else 1, top
            if i == 0 and (deep or stage > 2):
                side = unit(f"res{at}_branch1", f"{at}_branch1", top, outputs, 1, stride)
            shapes = [(width, 1), (width, 3), (outputs, 1)] if deep else [(width, 3), (outputs, 3)]
            for letter, (channels, kernel) in zip("abc", shapes, strict=False):
                branch = f"{at}_branch2{letter}"
                top = unit(f"res{branch}", branch, top, channels, kernel, stride if letter == "a" else 1)
                if letter != "abc"[len(shapes) - 1]:
                    top = w.relu(f"res{branch}_relu", top)
            top = w.relu(f"res{at}_relu", w.add(f"res{at}", "Eltwise", side, top))
    return w.softmax(w.fc("fc1000", w.average_all("pool5", top), 1000))
