"""The same net in PyTorch, translated layer by layer from the NetParameter; weights come from a caffepy net."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

import caffepy
from caffepy.proto.caffe_pb2 import EltwiseParameter, LayerParameter, LRNParameter, PoolingParameter

Tensor = torch.Tensor
Step = Callable[..., Tensor]


class TorchLayer(NamedTuple):
    """A step with what it reads and writes; plain values, for torch.compile looks into them."""

    name: str
    type: str
    bottoms: tuple[str, ...]
    top: str
    step: Step


class TorchNet:
    """Runs the layers of a caffepy net on tensors, with weights that need no gradient.

    A Scale right after a BatchNorm is folded into it, and Dropout at test time is left out, as one would in PyTorch.
    The weights go to `device`, in `memory_format` where they have four axes.
    """

    def __init__(
        self, net: caffepy.Net, device: str = "cpu", memory_format: torch.memory_format = torch.contiguous_format
    ) -> None:
        self.input = net.inputs[0]
        self.layers: list[TorchLayer] = []
        params = [layer.param for layer in net.layers if layer.type not in ("Input", "Split", "Dropout")]
        weights = {
            name: [arranged(torch.from_numpy(b.data.copy()).to(device), memory_format) for b in blobs]
            for name, blobs in net.params.items()
        }
        self.learned = [
            weight
            for layer in net.layers
            if layer.type in ("Convolution", "InnerProduct", "Scale")
            for weight in weights[layer.name]
        ]
        """In the order of the net's layers."""
        aliases = {
            top: layer.param.bottom[0] for layer in net.layers if layer.type == "Split" for top in layer.param.top
        }
        for i, param in enumerate(params):
            after = params[i + 1] if i + 1 < len(params) else None
            before = params[i - 1] if i else None
            if param.type == "Scale" and before is not None and before.type == "BatchNorm":
                continue
            scale = weights[after.name] if param.type == "BatchNorm" and after and after.type == "Scale" else None
            step = translated(param, weights.get(param.name, []), scale)
            bottoms = tuple(aliases.get(name, name) for name in param.bottom)
            self.layers.append(TorchLayer(param.name, param.type, bottoms, param.top[0], step))

    def forward(self, data: Tensor) -> Tensor:
        """The last layer's top."""
        blobs = {self.input: data}
        for layer in self.layers:
            blobs[layer.top] = layer.step(*[blobs[name] for name in layer.bottoms])
        return blobs[self.layers[-1].top]

    def gradient(self, data: Tensor, diff: Tensor) -> Tensor:
        """Forward, then the gradient of <diff, output> with respect to data."""
        data = data.detach().requires_grad_()
        top = self.forward(data)
        (gradient,) = torch.autograd.grad(top, data, diff.reshape(top.shape))
        return gradient


def translated(param: LayerParameter, weights: list[Tensor], scale: list[Tensor] | None = None) -> Step:
    """One layer; `scale` has the weights of a Scale to fold into a BatchNorm. In place where the layer is."""
    return _TRANSLATIONS[param.type](param, weights, scale)


def arranged(tensor: Tensor, memory_format: torch.memory_format) -> Tensor:
    """In that format if the tensor has four axes, which it needs."""
    return tensor.contiguous(memory_format=memory_format) if tensor.dim() == 4 else tensor


def _pair(param: Any, square: str, name: str, default: int) -> tuple[int, int]:
    if param.HasField(f"{name}_h"):
        return getattr(param, f"{name}_h"), getattr(param, f"{name}_w")
    value = getattr(param, square)
    if not isinstance(value, int):
        value = value[0] if value else default
    return value, value


def _convolution(param: LayerParameter, weights: list[Tensor], _: Any) -> Step:
    p = param.convolution_param
    bias = weights[1] if len(weights) > 1 else None
    stride, pad = _pair(p, "stride", "stride", 1), _pair(p, "pad", "pad", 0)
    dilation, group = p.dilation[0] if p.dilation else 1, p.group
    return lambda x: F.conv2d(x, weights[0], bias, stride, pad, dilation, group)


def _inner_product(param: LayerParameter, weights: list[Tensor], _: Any) -> Step:
    return lambda x: F.linear(x.flatten(param.inner_product_param.axis), *weights)


def _pooling(param: LayerParameter, weights: list[Tensor], _: Any) -> Step:
    p = param.pooling_param
    if p.global_pooling:
        return (
            (lambda x: x.mean((2, 3), keepdim=True)) if p.pool == PoolingParameter.AVE else (lambda x: x.amax((2, 3)))
        )
    kernel, stride = _pair(p, "kernel_size", "kernel", 0), _pair(p, "stride", "stride", 1)
    pad = _pair(p, "pad", "pad", 0)
    up = p.round_mode == PoolingParameter.CEIL
    if p.pool == PoolingParameter.AVE:
        return lambda x: F.avg_pool2d(x, kernel, stride, pad, up)
    return lambda x: F.max_pool2d(x, kernel, stride, pad, ceil_mode=up)


def _lrn(param: LayerParameter, weights: list[Tensor], _: Any) -> Step:
    p = param.lrn_param
    if p.norm_region != LRNParameter.ACROSS_CHANNELS:
        raise NotImplementedError(f"layer {param.name!r}: PyTorch has no LRN within channels")
    size, alpha, beta, k = p.local_size, p.alpha, p.beta, p.k
    return lambda x: F.local_response_norm(x, size, alpha, beta, k)


def _batch_norm(param: LayerParameter, weights: list[Tensor], scale: list[Tensor] | None) -> Step:
    mean, variance = weights[0] / weights[2], weights[1] / weights[2]
    gamma, beta = scale or (None, None)
    eps = param.batch_norm_param.eps
    return lambda x: F.batch_norm(x, mean, variance, gamma, beta, False, 0, eps)


def _scale(param: LayerParameter, weights: list[Tensor], _: Any) -> Step:
    gamma, *beta = (weight.reshape(-1, 1, 1) for weight in weights)
    return (lambda x: torch.addcmul(beta[0], x, gamma)) if beta else (lambda x: x * gamma)


def _eltwise(param: LayerParameter, weights: list[Tensor], _: Any) -> Step:
    if param.eltwise_param.operation != EltwiseParameter.SUM or len(param.bottom) != 2:
        raise NotImplementedError(f"layer {param.name!r}: only the sum of two is translated")
    return torch.add


def _concat(axis: int) -> Step:
    return lambda *xs: torch.cat(xs, axis)


def _softmax(axis: int) -> Step:
    return lambda x: torch.softmax(x, axis)


_TRANSLATIONS: dict[str, Callable[[LayerParameter, list[Tensor], list[Tensor] | None], Step]] = {
    "Convolution": _convolution,
    "InnerProduct": _inner_product,
    "Pooling": _pooling,
    "LRN": _lrn,
    "BatchNorm": _batch_norm,
    "Scale": _scale,
    "Eltwise": _eltwise,
    "ReLU": lambda param, weights, _: F.relu_ if param.bottom[0] == param.top[0] else F.relu,
    "Concat": lambda param, weights, _: _concat(param.concat_param.axis),
    "Softmax": lambda param, weights, _: _softmax(param.softmax_param.axis),
}
