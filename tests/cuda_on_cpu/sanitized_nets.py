"""Golden nets, saliency methods and solvers that launch every kernel between them: what runs under the sanitizers.

What they compute is checked elsewhere.
"""

import inspect
import warnings
from functools import cache
from typing import Any

import numpy as np

import caffepy
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import TEST, TRAIN, NetParameter, Phase
from caffepy.saliency import METHODS, Ascent, Method, channel_maximum, lrp, transfer_style, visualize_class
from tests.cuda_on_cpu import enable
from tests.kernels.recording import recording
from tests.kernels.test_compile import RARE
from tests.layers import golden
from tests.nets import make, noise
from tests.saliency.nets import MIXED, NORMALIZED
from tests.solver.test_solver import NET, TYPES, settings

SPLIT = """
force_backward: true
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 8 dim: 4 dim: 4 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "conv"
        convolution_param { num_output: 200 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc"
        inner_product_param { num_output: 400 weight_filler { type: "xavier" } } }
"""
"""Backward passes of many terms and few results."""

WITH_LRN = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 5 dim: 4 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "gaussian" std: 0.3 } } }
layer { name: "lrn" type: "LRN" bottom: "conv" top: "lrn" lrn_param { local_size: 3 } }
layer { name: "fc" type: "InnerProduct" bottom: "lrn" top: "fc"
        inner_product_param { num_output: 6 weight_filler { type: "gaussian" std: 0.3 } } }
"""

WITH_GATE = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 5 dim: 4 } } }
layer { name: "a" type: "Convolution" bottom: "data" top: "a"
        convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "gaussian" std: 0.3 } } }
layer { name: "b" type: "Convolution" bottom: "data" top: "b"
        convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "gaussian" std: 0.3 } } }
layer { name: "gated" type: "Eltwise" bottom: "a" bottom: "b" top: "gated" eltwise_param { operation: PROD } }
layer { name: "fc" type: "InnerProduct" bottom: "gated" top: "fc"
        inner_product_param { num_output: 6 weight_filler { type: "gaussian" std: 0.3 } } }
"""

MULTIPROCESSORS = 132
"""As many as an H200 has: whether a product is split depends on it."""

Kernel = tuple[str, str]
"""A file and a function of it."""


@cache
def chosen() -> dict[str, set[Kernel]]:
    """Few cases, by id, and what each launches: the one with the most new kernels first, of equals the smaller one."""
    launched = {name: _launched(name) for name in nets()}
    sizes = {case.id: sum(array.size for array in case.kind("in").values()) for case in golden.runnable()}
    missing, found = set().union(*launched.values()), dict[str, set[Kernel]]()
    while missing:
        best = max(launched, key=lambda name: (len(launched[name] & missing), -sizes.get(name, 0), name))
        found[best] = launched[best]
        missing -= launched[best]
    return found


@cache
def nets() -> dict[str, tuple[str, int]]:
    """Text and phase by a name: the golden cases, and the net of what they do not have."""
    golden_nets = {case.id: (case.prototxt, Phase.Value(case.phase)) for case in golden.runnable()}
    return golden_nets | {"RARE/train": (RARE, TRAIN), "RARE/test": (RARE, TEST), "SPLIT": (SPLIT, TEST)}


def _launched(name: str) -> set[Kernel]:
    with recording(90) as gpu:
        assert gpu.multiprocessors == MULTIPROCESSORS
        _passes(name)
    return {(launch.file, launch.entry) for launch in gpu.launches}


def _passes(name: str) -> None:
    """Forward and backward on the case's inputs and weights, where it has some."""
    text, phase = nets()[name]
    case = next((case for case in golden.runnable() if case.id == name), None)
    net = caffepy.Net(prototxt.parse(text, NetParameter), phase)
    if case is not None:
        for key, value in case.kind("param").items():
            layer, index = key.rsplit("/", 1)
            net.params[layer][int(index)].data[...] = value
        for blob, value in case.kind("in").items():
            net.blobs[blob].data[...] = value
    with warnings.catch_warnings(action="ignore", category=caffepy.NotComputedWarning):
        net.forward()
        for blob in net.outputs:
            if not net.blob_loss_weights[blob]:
                net.blobs[blob].diff[...] = np.linspace(-1, 1, net.blobs[blob].count).reshape(net.blobs[blob].shape)
        caffepy.set_param_diffs("always")
        net.backward()
        caffepy.set_param_diffs("deferred")
    for gradient in net.gradient(dict.fromkeys(net.outputs, 1.0)).values():
        if gradient.ndim == 4:
            channel_maximum(gradient)


def other_packages() -> None:
    """What saliency, rules and solvers launch, in GPU mode."""
    few = {"samples": 2, "steps": 2, "masks": 4, "iterations": 2}
    for method in METHODS.values():
        known = inspect.signature(method.compute).parameters
        _explained(method, MIXED, **{name: value for name, value in few.items() if name in known})
    _explained(lrp, NORMALIZED, composite="epsilon-gamma")
    _explained(METHODS["deeplift"], WITH_LRN)
    _explained(METHODS["deeplift"], WITH_GATE)
    step = Ascent(steps=1, jitter=1)
    picture = noise(1, 3, 5, 4)
    visualize_class(make(WITH_LRN), 1, ascent=step)
    styled = {"content_layers": {"conv": 1.0}, "style_layers": {"conv": 1.0}}
    transfer_style(make(WITH_LRN), picture, picture, **styled, ascent=step)
    for kind, more in TYPES.items():
        param = settings(f'type: "{kind}" {more} clip_gradients: 0.01', net="")
        param.net_param.CopyFrom(prototxt.parse(NET, NetParameter))
        caffepy.get_solver(param).step(2)


def on_request() -> None:
    """What weights of 16 bits change in the products, in GPU mode."""
    for name in ("fp16", "bf16"):
        caffepy.set_precision(name)
        _passes("SPLIT")
    caffepy.set_precision("fp32")


def _explained(method: Method, net: str, **parameters: Any) -> None:
    made = make(net)
    shape = made.blobs["data"].shape
    method(made, noise(*shape)[:1], [1], **parameters)


def main() -> None:
    """Run them all."""
    for name in chosen():
        enable().multiprocessors = MULTIPROCESSORS
        caffepy.set_mode_gpu()
        _passes(name)
    other_packages()
    on_request()


if __name__ == "__main__":
    main()
