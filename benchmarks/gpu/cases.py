"""The distinct layers of the nets."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import caffepy
from caffepy.proto.caffe_pb2 import LayerParameter, NetParameter

Shape = tuple[int, ...]

PRODUCTS = ("Convolution", "InnerProduct")
STREAMS = ("ReLU", "Pooling", "LRN", "Eltwise", "Concat", "BatchNorm", "Scale", "Softmax")
FLOAT = 4


@dataclass
class Case:
    """A layer on bottoms of certain shapes, out of place, with how often each net has it."""

    param: LayerParameter
    batch: int
    bottoms: list[Shape]
    tops: list[Shape]
    weights: list[Shape]
    nets: dict[str, int] = field(default_factory=dict)

    @property
    def type(self) -> str:
        """The layer's."""
        return self.param.type

    @property
    def nbytes(self) -> int:
        """What a forward pass touches at least."""
        return FLOAT * (_count(self.bottoms) + _count(self.tops) + _count(self.weights))

    @property
    def ways(self) -> list[str]:
        """What is measured: forward, backward to the bottoms, to the weights, to the bias."""
        products = ["weights", "bias"][: len(self.weights)] if self.type in PRODUCTS else []
        return ["forward", "backward", *products]

    def is_product(self, way: str) -> bool:
        """Whether that way multiplies matrices, which a precision is asked for."""
        return self.type in PRODUCTS and way != "bias"

    def __str__(self) -> str:
        shapes = " ".join("x".join(map(str, shape)) for shape in (self.bottoms[0], *self.weights[:1]))
        return f"{self.param.name} {shapes}"


def of_nets(nets: Mapping[str, Callable[[int], NetParameter]], batch: int) -> list[Case]:
    """Each distinct layer once, in the order of the nets."""
    found: dict[object, Case] = {}
    for name, definition in nets.items():
        net = caffepy.Net(unfilled(definition(batch)), caffepy.TEST)
        for layer in net.layers:
            if layer.type not in (*PRODUCTS, *STREAMS):
                continue
            bottoms = [net.blobs[blob].shape for blob in layer.param.bottom]
            tops = [net.blobs[blob].shape for blob in layer.param.top]
            param = _alone(layer.param)
            case = Case(param, batch, bottoms, tops, [blob.shape for blob in layer.blobs])
            key = _without_name(param).SerializeToString(deterministic=True), str(bottoms)
            nets_of = found.setdefault(key, case).nets
            nets_of[name] = nets_of.get(name, 0) + 1
        net.close()
    return list(found.values())


def unfilled(definition: NetParameter) -> NetParameter:
    """Without fillers: the net's weights are zeros, which are made at once."""
    for layer in definition.layer:
        layer.convolution_param.ClearField("weight_filler")
        layer.inner_product_param.ClearField("weight_filler")
    return definition


def _alone(param: LayerParameter) -> LayerParameter:
    """The layer with blobs of its own, out of place."""
    copy = LayerParameter()
    copy.CopyFrom(param)
    del copy.bottom[:], copy.top[:]
    copy.bottom.extend(f"bottom{i}" for i in range(len(param.bottom)))
    copy.top.append("top")
    return copy


def _without_name(param: LayerParameter) -> LayerParameter:
    copy = LayerParameter()
    copy.CopyFrom(param)
    copy.ClearField("name")
    return copy


def _count(shapes: list[Shape]) -> int:
    return sum(math.prod(shape) for shape in shapes)
