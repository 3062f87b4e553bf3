"""What each layer type is in ONNX's operators."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from caffepy.blob import Shape
from caffepy.interop.onnx_graph import Graph
from caffepy.layers.activation.selu import ALPHA, SCALE
from caffepy.proto.caffe_pb2 import EltwiseParameter, ReductionParameter

FLOAT, INT64 = 1, 7
"""TensorProto's numbers of the types."""


@dataclass
class Site:
    """A layer, the names of the values it gets, and the graph to which its operators are added."""

    graph: Graph
    layer: Any
    bottoms: list[str]
    bottom_shapes: list[Shape]
    top_shapes: list[Shape]

    def op(self, kind: str, *inputs: str | ArrayLike, **attributes: Any) -> str:
        """The value of an operator; numbers among the inputs are constants."""
        return self.ops(kind, 1, *inputs, **attributes)[0]

    def ops(self, kind: str, outputs: int, *inputs: str | ArrayLike, **attributes: Any) -> list[str]:
        """The values of an operator that has several."""
        values = [value if isinstance(value, str) else self.graph.constant(self._name(), value) for value in inputs]
        names = [f"{self._name()}.{i}" for i in range(outputs)]
        self.graph.add(kind, values, names, **attributes)
        return names

    def weight(self, index: int, shape: Shape | None = None) -> str:
        """The layer's weights of that number as a constant, in another shape if one is given."""
        blob = self.layer.blobs[index]
        return self.graph.weight(
            self._name(), blob.data_storage, blob.read().reshape(blob.shape if shape is None else shape)
        )

    def weights(self) -> list[str]:
        """All of them."""
        return [self.weight(i) for i in range(len(self.layer.blobs))]

    def reshaped(self, value: str, shape: Sequence[int]) -> str:
        """The value in another shape."""
        return self.op("Reshape", value, np.array(shape, np.int64))

    def refuse(self, what: str) -> Exception:
        """The error that says what ONNX cannot express."""
        error: Exception = self.layer.error(f"to_onnx: {what} has no equal in ONNX; export the net without this layer")
        return error

    def _name(self) -> str:
        return f"{self.layer.name}#{len(self.graph.nodes) + len(self.graph.initializers)}"


Converter = Callable[[Site], str | list[str]]
CONVERTERS: dict[str, Converter] = {}


def converts(*types: str) -> Callable[[Converter], Converter]:
    """Enter a function for these layer types."""

    def enter(function: Converter) -> Converter:
        CONVERTERS.update(dict.fromkeys(types, function))
        return function

    return enter


# ---- value by value

_ALIKE = {
    "AbsVal": "Abs",
    "BNLL": "Softplus",
    "HardSwish": "HardSwish",
    "Sigmoid": "Sigmoid",
    "TanH": "Tanh",
}


@converts(*_ALIKE)
def _alike(site: Site) -> str:
    return site.op(_ALIKE[site.layer.type], site.bottoms[0])


def _affine(site: Site, value: str, scale: float, shift: float) -> str:
    """scale * value + shift"""
    if scale != 1:
        value = site.op("Mul", value, scale)
    return value if shift == 0 else site.op("Add", value, shift)


@converts("ReLU")
def _relu(site: Site) -> str:
    slope = site.layer.negative_slope
    return site.op("LeakyRelu", site.bottoms[0], alpha=slope) if slope else site.op("Relu", site.bottoms[0])


@converts("PReLU")
def _prelu(site: Site) -> str:
    count = site.layer.blobs[0].count
    ones = [1] * (len(site.bottom_shapes[0]) - 2)
    return site.op("PRelu", site.bottoms[0], site.weight(0, (count, *ones) if site.layer.blobs[0].shape else (1,)))


@converts("ELU")
def _elu(site: Site) -> str:
    return site.op("Elu", site.bottoms[0], alpha=site.layer.alpha)


@converts("SeLu")
def _selu(site: Site) -> str:
    return site.op("Selu", site.bottoms[0], alpha=ALPHA, gamma=SCALE)


@converts("ReLU6")
def _relu6(site: Site) -> str:
    return site.op("Clip", site.bottoms[0], 0.0, 6.0)


@converts("Clip")
def _clip(site: Site) -> str:
    return site.op("Clip", site.bottoms[0], site.layer.lowest, site.layer.highest)


@converts("Swish")
def _swish(site: Site) -> str:
    gate = site.op("Sigmoid", _affine(site, site.bottoms[0], site.layer.beta, 0))
    return site.op("Mul", site.bottoms[0], gate)


@converts("Exp")
def _exp(site: Site) -> str:
    value = site.op("Exp", _affine(site, site.bottoms[0], site.layer.rate, 0))
    return _affine(site, value, site.layer.factor, 0)


@converts("Log")
def _log(site: Site) -> str:
    value = site.op("Log", _affine(site, site.bottoms[0], site.layer.scale, site.layer.shift))
    return _affine(site, value, site.layer.factor, 0)


@converts("Power")
def _power(site: Site) -> str:
    value = _affine(site, site.bottoms[0], site.layer.scale, site.layer.shift)
    return value if site.layer.power == 1 else site.op("Pow", value, site.layer.power)


@converts("Threshold")
def _threshold(site: Site) -> str:
    above = site.op("Greater", site.bottoms[0], site.layer.param.threshold_param.threshold)
    return site.op("Cast", above, to=FLOAT)


@converts("Dropout", "SeLuDropout")
def _dropout(site: Site) -> str:
    if site.layer.drops:
        raise site.refuse("dropping values (phase TRAIN)")
    return site.bottoms[0]


# ---- several blobs


@converts("Eltwise")
def _eltwise(site: Site) -> str:
    operation = site.layer.operation
    if operation == EltwiseParameter.SUM:
        terms = zip(site.bottoms, site.layer.coeffs, strict=True)
        return site.op("Sum", *(_affine(site, bottom, coeff, 0) for bottom, coeff in terms))
    if operation == EltwiseParameter.MAX:
        return site.op("Max", *site.bottoms)
    product = site.bottoms[0]
    for further in site.bottoms[1:]:
        product = site.op("Mul", product, further)
    return product


@converts("Add", "Mul")
def _broadcast(site: Site) -> str:
    return site.op(site.layer.type, *site.bottoms)


@converts("Axpy")
def _axpy(site: Site) -> str:
    scale, x, y = site.bottoms
    shape = site.bottom_shapes[1]
    scale = site.reshaped(scale, (*shape[:2], *[1] * (len(shape) - 2)))
    return site.op("Add", site.op("Mul", x, scale), y)


@converts("Scale", "Bias")
def _scale(site: Site) -> str:
    layer, bottom = site.layer, site.bottom_shapes[0]
    shape = layer.blobs[0].shape if layer.learned else site.bottom_shapes[1]
    axis = layer.canonical_axis(layer.axis, bottom) if shape else 0
    fits = (*[1] * axis, *shape, *[1] * (len(bottom) - axis - len(shape)))
    operand = site.weight(0, fits) if layer.learned else site.reshaped(site.bottoms[1], fits)
    if layer.type == "Bias":
        return site.op("Add", site.bottoms[0], operand)
    value = site.op("Mul", site.bottoms[0], operand)
    return site.op("Add", value, site.weight(-1, fits)) if layer.param.scale_param.bias_term else value


@converts("Concat")
def _concat(site: Site) -> str:
    return site.op("Concat", *site.bottoms, axis=site.layer.canonical_axis(site.layer.axis, site.bottom_shapes[0]))


@converts("Slice")
def _slice(site: Site) -> list[str]:
    axis = site.layer.canonical_axis(site.layer.axis, site.bottom_shapes[0])
    extents = np.array([shape[axis] for shape in site.top_shapes], np.int64)
    return site.ops("Split", len(extents), site.bottoms[0], extents, axis=axis)


@converts("Split")
def _split(site: Site) -> list[str]:
    return site.bottoms * len(site.top_shapes)


@converts("Silence")
def _silence(site: Site) -> list[str]:
    return []


@converts("Parameter")
def _parameter(site: Site) -> str:
    return site.op("Identity", site.weight(0))


# ---- products


@converts("Convolution", "DepthwiseConvolution", "ConvolutionDepthwise", "Deconvolution")
def _convolution(site: Site) -> list[str]:
    layer, window = site.layer, site.layer.window
    if layer.axis != 1:
        raise site.refuse(f"axis: {layer.axis}")
    attributes = {
        "kernel_shape": window.kernel,
        "strides": window.stride,
        "pads": window.pad * 2,
        "dilations": window.dilation,
        "group": layer.group,
    }
    kind = "ConvTranspose" if layer.type == "Deconvolution" else "Conv"
    return [site.op(kind, bottom, *site.weights(), **attributes) for bottom in site.bottoms]


@converts("InnerProduct")
def _inner_product(site: Site) -> str:
    rows = site.reshaped(site.bottoms[0], (math.prod(site.bottom_shapes[0][: site.layer.axis]), site.layer.inputs))
    product = site.op("Gemm", rows, *site.weights(), transB=int(not site.layer.transpose))
    return site.reshaped(product, site.top_shapes[0])


@converts("Embed")
def _embed(site: Site) -> str:
    rows = site.op("Gather", site.weight(0), site.op("Cast", site.bottoms[0], to=INT64))
    return site.op("Add", rows, site.weight(1)) if len(site.layer.blobs) > 1 else rows


# ---- statistics


@converts("BatchNorm")
def _batch_norm(site: Site) -> str:
    layer = site.layer
    if not layer.use_global_stats or len(site.bottom_shapes[0]) < 2:
        raise site.refuse("the batch's own mean and variance (use_global_stats: false)")
    mean, variance, weight, *affine = (blob.read() for blob in layer.blobs)
    factor = np.float32(0) if weight[0] == 0 else 1 / weight[0]
    variance, eps = variance * factor, layer.eps
    if layer.adds_to_deviation:
        variance, eps = np.square(np.sqrt(variance) + np.float32(eps)), 0.0
    scale, bias = affine or (np.ones_like(mean), np.zeros_like(mean))
    return site.op("BatchNormalization", site.bottoms[0], scale, bias, mean * factor, variance, epsilon=eps)


@converts("BN")
def _bn(site: Site) -> str:
    layer, bottom = site.layer, site.bottom_shapes[0]
    channels = bottom[1:2]
    if layer.affine:
        fits = (*channels, *[1] * (len(bottom) - 2))
        return site.op("Add", site.op("Mul", site.bottoms[0], site.weight(0, fits)), site.weight(1, fits))
    if not layer.uses_stored:
        raise site.refuse("the batch's own mean and variance")
    weights = [site.weight(i, channels) for i in range(4)]
    return site.op("BatchNormalization", site.bottoms[0], *weights, epsilon=layer.eps)


@converts("LRN")
def _lrn(site: Site) -> str:
    layer, x, size = site.layer, site.bottoms[0], site.layer.local_size
    if not layer.within:
        return site.op("LRN", x, size=size, alpha=layer.alpha, beta=layer.beta, bias=layer.k)
    around = {"kernel_shape": [size] * 2, "pads": [size // 2] * 4, "count_include_pad": 1}
    mean = site.op("AveragePool", site.op("Mul", x, x), **around)
    return site.op("Div", x, site.op("Pow", _affine(site, mean, layer.alpha, layer.k), layer.beta))


@converts("MVN")
def _mvn(site: Site) -> str:
    _, rows, inner = site.layer.extent
    x = site.reshaped(site.bottoms[0], (rows, inner))
    x = site.op("Sub", x, site.op("ReduceMean", x, axes=[1]))
    if site.layer.normalize_variance:
        variance = site.op("ReduceMean", site.op("Mul", x, x), axes=[1])
        x = site.op("Div", x, _affine(site, site.op("Sqrt", variance), 1, site.layer.eps))
    return site.reshaped(x, site.top_shapes[0])


@converts("Normalize")
def _normalize(site: Site) -> str:
    how, x, axes = site.layer.how, site.bottoms[0], len(site.bottom_shapes[0])
    along = np.arange(1, axes if how.across else 2)
    squares = site.op("ReduceSum", site.op("Mul", x, x), along)
    value = site.op("Div", x, site.op("Sqrt", _affine(site, squares, 1, how.eps)))
    return site.op("Mul", value, site.weight(0, (1,) if how.shared else (-1, *[1] * (axes - 2))))


@converts("Softmax")
def _softmax(site: Site) -> str:
    axis = site.layer.canonical_axis(site.layer.param.softmax_param.axis, site.bottom_shapes[0])
    return site.op("Softmax", site.bottoms[0], axis=axis)


@converts("Reduction")
def _reduction(site: Site) -> str:
    layer, kinds = site.layer, ReductionParameter
    rows = site.reshaped(site.bottoms[0], (-1, layer.length))
    if layer.kind == kinds.ASUM:
        total = site.op("ReduceL1", rows, axes=[1])
    elif layer.kind == kinds.SUMSQ:
        total = site.op("ReduceSumSquare", rows, axes=[1])
    else:
        total = site.op("ReduceSum", rows, np.array([1]))
    return site.reshaped(_affine(site, total, layer.coeff, 0), site.top_shapes[0])


@converts("ArgMax")
def _argmax(site: Site) -> str:
    p, bottom = site.layer.param.argmax_param, site.bottom_shapes[0]
    if p.top_k != 1 or p.out_max_val:
        raise site.refuse("top_k above 1, and out_max_val,")
    x, axis = site.reshaped(site.bottoms[0], (bottom[0], math.prod(bottom[1:]))), 1
    if p.HasField("axis"):
        x, axis = site.bottoms[0], site.layer.canonical_axis(p.axis, bottom)
    place = site.op("ArgMax", x, axis=axis, select_last_index=1)
    return site.reshaped(site.op("Cast", place, to=FLOAT), site.top_shapes[0])
