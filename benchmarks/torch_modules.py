"""A caffepy net as a torch.nn.Module of ordinary modules, one a layer, so that hooks find them."""

from typing import Any

import torch
from torch import nn

import caffepy
from caffepy.proto.caffe_pb2 import LayerParameter, LRNParameter, PoolingParameter

_LEFT_OUT = ("Input", "Split", "Softmax", "SoftmaxWithLoss", "Accuracy")


class Concat(nn.Module):
    """Channels behind one another."""

    def forward(self, *bottoms: torch.Tensor) -> torch.Tensor:
        """Their concatenation."""
        return torch.cat(bottoms, dim=1)


class Modules(nn.Module):
    """The layers' modules by name, run in their order; each reads what `bottoms` says."""

    def __init__(self, net: caffepy.Net) -> None:
        super().__init__()
        self.layers = nn.ModuleDict()
        self._wires: list[tuple[str, tuple[str, ...], str]] = []
        aliases: dict[str, str] = {}
        for layer in net.layers:
            if layer.type == "Split":
                aliases.update(dict.fromkeys(layer.param.top, layer.param.bottom[0]))
            if layer.type in _LEFT_OUT:
                continue
            name = layer.name.replace(".", "_")
            self.layers[name] = translated(layer.param, [blob.data.copy() for blob in layer.blobs])
            bottoms = tuple(aliases.get(bottom, bottom) for bottom in layer.param.bottom)
            self._wires.append((name, bottoms, layer.param.top[0]))
        self._input = net.inputs[0]

    def forward(self, data: torch.Tensor) -> torch.Tensor:
        """(N, classes): the scores before the softmax."""
        blobs = {self._input: data}
        for name, bottoms, top in self._wires:
            blobs[top] = self.layers[name](*[blobs[bottom] for bottom in bottoms])
        return blobs[self._wires[-1][2]].flatten(1)


def translated(param: LayerParameter, weights: list[Any]) -> nn.Module:
    """One layer. Raises NotImplementedError for types that no net here needs."""
    made = _module(param, weights)
    for name, values in zip(("weight", "bias"), weights, strict=False):
        target = made[-1] if isinstance(made, nn.Sequential) else made
        getattr(target, name).data = torch.from_numpy(values).reshape(getattr(target, name).shape)
    return made.eval()


def _module(param: LayerParameter, weights: list[Any]) -> nn.Module:
    if param.type == "Convolution":
        return _convolution(param, weights)
    if param.type == "InnerProduct":
        outputs, inputs = weights[0].shape
        return nn.Sequential(nn.Flatten(), nn.Linear(inputs, outputs, bias=len(weights) > 1))
    if param.type == "Pooling":
        return _pooling(param)
    if param.type == "LRN" and param.lrn_param.norm_region == LRNParameter.ACROSS_CHANNELS:
        p = param.lrn_param
        return nn.LocalResponseNorm(p.local_size, p.alpha, p.beta, p.k)
    simple = {"ReLU": nn.ReLU, "Dropout": nn.Identity, "Concat": Concat}
    if param.type in simple:
        return simple[param.type]()
    raise NotImplementedError(f"layer {param.name!r}: {param.type} is not translated")


def _one(values: Any, default: int) -> int:
    return int(values[0]) if len(values) else default


def _convolution(param: LayerParameter, weights: list[Any]) -> nn.Module:
    p = param.convolution_param
    outputs, inputs, *kernel = weights[0].shape
    return nn.Conv2d(
        inputs * p.group,
        outputs,
        tuple(kernel),
        stride=_one(p.stride, 1),
        padding=_one(p.pad, 0),
        dilation=_one(p.dilation, 1),
        groups=p.group,
        bias=len(weights) > 1,
    )


def _pooling(param: LayerParameter) -> nn.Module:
    p = param.pooling_param
    if p.global_pooling:
        return nn.AdaptiveAvgPool2d(1) if p.pool == PoolingParameter.AVE else nn.AdaptiveMaxPool2d(1)
    kind: Any = nn.AvgPool2d if p.pool == PoolingParameter.AVE else nn.MaxPool2d
    up = p.round_mode == PoolingParameter.CEIL
    made: nn.Module = kind(p.kernel_size, stride=p.stride, padding=p.pad, ceil_mode=up)
    return made
