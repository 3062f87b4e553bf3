"""DenseNet."""

from caffepy.net_spec import Top
from caffepy.proto.caffe_pb2 import NetParameter
from caffepy.zoo.nets.writer import Writer

GROWTH = 32


def densenet121(batch: int = 1, size: int = 224) -> NetParameter:
    """Huang, Liu, van der Maaten & Weinberger 2017, table 1."""
    w = Writer("DenseNet-121", batch, size)

    def activated(name: str, bottom: Top, *, in_place: bool = False) -> Top:
        return w.relu(f"{name}/relu", w.norm(f"{name}/bn", f"{name}/scale", bottom, in_place=in_place))

    top = w.conv("conv1", w.data, 64, 7, stride=2, pad=3, bias_term=False)
    top, channels = w.pool("pool1", activated("conv1", top, in_place=True), 3, 2), 64
    for stage, blocks in enumerate((6, 12, 24, 16), start=2):
        for i in range(1, blocks + 1):
            at = f"conv{stage}_{i}"
            new = w.conv(f"{at}/x1", activated(f"{at}/x1", top), 4 * GROWTH, 1, bias_term=False)
            new = w.conv(f"{at}/x2", activated(f"{at}/x2", new, in_place=True), GROWTH, 3, pad=1, bias_term=False)
            top = w.add(f"concat_{stage}_{i}", "Concat", top, new)
            channels += GROWTH
        top = activated(f"conv{stage}_blk", top)
        if stage < 5:
            channels //= 2
            top = w.conv(f"conv{stage}_blk", top, channels, 1, bias_term=False)
            top = w.pool(f"pool{stage}", top, 2, 2, average=True)
    return w.softmax(w.conv("fc6", w.average_all("pool5", top), 1000, 1))
