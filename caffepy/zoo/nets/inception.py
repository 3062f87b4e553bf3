"""GoogLeNet and Inception-v3."""

from caffepy.net_spec import Top
from caffepy.proto.caffe_pb2 import NetParameter
from caffepy.zoo.nets.writer import Writer

TOWERS = {
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


def googlenet(batch: int = 1, size: int = 224) -> NetParameter:
    """Szegedy et al. 2015, table 1, without the auxiliary classifiers."""
    w = Writer("GoogLeNet", batch, size)

    def conv(name: str, bottom: Top, outputs: int, kernel: int, **settings: int) -> Top:
        head, _, tail = name.rpartition("/")
        return w.conv_relu(name, bottom, outputs, kernel, relu=f"{head}/relu_{tail}", **settings)

    top = conv("conv1/7x7_s2", w.data, 64, 7, stride=2, pad=3)
    top = w.lrn("pool1/norm1", w.pool("pool1/3x3_s2", top, 3, 2))
    top = conv("conv2/3x3", conv("conv2/3x3_reduce", top, 64, 1), 192, 3, pad=1)
    top = w.pool("pool2/3x3_s2", w.lrn("conv2/norm2", top), 3, 2)
    for name, (one, reduce3, three, reduce5, five, project) in TOWERS.items():
        at = f"inception_{name}"
        towers = [
            conv(f"{at}/1x1", top, one, 1),
            conv(f"{at}/3x3", conv(f"{at}/3x3_reduce", top, reduce3, 1), three, 3, pad=1),
            conv(f"{at}/5x5", conv(f"{at}/5x5_reduce", top, reduce5, 1), five, 5, pad=2),
            conv(f"{at}/pool_proj", w.pool(f"{at}/pool", top, 3, pad=1), project, 1),
        ]
        top = w.add(f"{at}/output", "Concat", *towers)
        if name in ("3b", "4e"):
            top = w.pool(f"pool{int(name[0])}/3x3_s2", top, 3, 2)
    top = w.dropout("pool5/drop_7x7_s1", w.pool("pool5/7x7_s1", top, 7, average=True), 0.4)
    return w.softmax(w.fc("loss3/classifier", top, 1000))


class _V3(Writer):
    def unit(self, name: str, bottom: Top, outputs: int, kernel: int | tuple[int, int], **settings: int) -> Top:
        top = self.conv(name, bottom, outputs, kernel, bias_term=False, **settings)
        return self.relu(f"{name}_relu", self.norm(f"{name}_bn", f"{name}_scale", top))

    def chain(self, name: str, top: Top, *units: tuple[int, int, int], stride: int = 1) -> Top:
        """Units of (outputs, height, width), the images' size kept but by the last one's stride."""
        for i, (outputs, high, wide) in enumerate(units, start=1):
            last = {"stride": stride} if i == len(units) and stride > 1 else {"pad_h": high // 2, "pad_w": wide // 2}
            top = self.unit(f"{name}_{i}", top, outputs, (high, wide), **last)
        return top

    def pooled(self, name: str, bottom: Top, outputs: int) -> Top:
        return self.chain(f"{name}_proj", self.pool(f"{name}_pool", bottom, 3, average=True, pad=1), (outputs, 1, 1))


def inception_v3(batch: int = 1, size: int = 299) -> NetParameter:
    """Szegedy et al. 2016, without the auxiliary classifier."""
    w = _V3("Inception-v3", batch, size)
    top = w.unit("conv2", w.unit("conv1", w.data, 32, 3, stride=2), 32, 3)
    top = w.pool("pool1", w.unit("conv3", top, 64, 3, pad=1), 3, 2)
    top = w.pool("pool2", w.unit("conv5", w.unit("conv4", top, 80, 1), 192, 3), 3, 2)
    for name, project in (("mixed1", 32), ("mixed2", 64), ("mixed3", 64)):
        towers = [
            w.chain(f"{name}_1x1", top, (64, 1, 1)),
            w.chain(f"{name}_5x5", top, (48, 1, 1), (64, 5, 5)),
            w.chain(f"{name}_3x3", top, (64, 1, 1), (96, 3, 3), (96, 3, 3)),
            w.pooled(name, top, project),
        ]
        top = w.add(name, "Concat", *towers)
    towers = [
        w.chain("mixed4_3x3", top, (384, 3, 3), stride=2),
        w.chain("mixed4_double", top, (64, 1, 1), (96, 3, 3), (96, 3, 3), stride=2),
        w.pool("mixed4_pool", top, 3, 2),
    ]
    top = w.add("mixed4", "Concat", *towers)
    for name, c in (("mixed5", 128), ("mixed6", 160), ("mixed7", 160), ("mixed8", 192)):
        towers = [
            w.chain(f"{name}_1x1", top, (192, 1, 1)),
            w.chain(f"{name}_7x7", top, (c, 1, 1), (c, 1, 7), (192, 7, 1)),
            w.chain(f"{name}_double", top, (c, 1, 1), (c, 7, 1), (c, 1, 7), (c, 7, 1), (192, 1, 7)),
            w.pooled(name, top, 192),
        ]
        top = w.add(name, "Concat", *towers)
    towers = [
        w.chain("mixed9_3x3", top, (192, 1, 1), (320, 3, 3), stride=2),
        w.chain("mixed9_7x7", top, (192, 1, 1), (192, 1, 7), (192, 7, 1), (192, 3, 3), stride=2),
        w.pool("mixed9_pool", top, 3, 2),
    ]
    top = w.add("mixed9", "Concat", *towers)
    for name in ("mixed10", "mixed11"):
        three = w.chain(f"{name}_3x3", top, (384, 1, 1))
        double = w.chain(f"{name}_double", top, (448, 1, 1), (384, 3, 3))
        towers = [w.chain(f"{name}_1x1", top, (320, 1, 1))]
        for side, at in (("3x3", three), ("double", double)):
            towers += [w.chain(f"{name}_{side}_wide", at, (384, 1, 3)), w.chain(f"{name}_{side}_high", at, (384, 3, 1))]
        top = w.add(name, "Concat", *towers, w.pooled(name, top, 192))
    top = w.dropout("drop", w.average_all("pool3", top))
    return w.softmax(w.fc("fc", top, 1000))
