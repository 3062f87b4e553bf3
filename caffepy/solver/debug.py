"""debug_info: mean sizes of data and diffs, layer by layer (Caffe: Net::ForwardDebugInfo, Net::BackwardDebugInfo)."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from caffepy.blob import Floats
from caffepy.graph import param_spec
from caffepy.net import Net
from caffepy.solver.log import say
from caffepy.solver.weights import learnable


@contextmanager
def shown(net: Net, wanted: bool) -> Iterator[None]:
    """While in the block, log each layer's tops and weights after forward, and their diffs after backward."""
    if not wanted:
        yield
        return
    forward, backward = net.callbacks.after_forward, net.callbacks.after_backward

    def after_forward(i: int) -> None:
        _forward(net, i)

    def after_backward(i: int) -> None:
        _backward(net, i)

    forward.append(after_forward)
    backward.append(after_backward)
    try:
        yield
    finally:
        forward.remove(after_forward)
        backward.remove(after_backward)


def totals(net: Net) -> None:
    """Log the norms of all weights together, after a backward pass."""
    blobs = [weight.blob for weight in learnable(net)]
    (l1, l2), (diff_l1, diff_l2) = _norms([b.read() for b in blobs]), _norms([b.read_diff() for b in blobs])
    say(
        "net.cpp:721",
        f"    [Backward] All net params (data, diff): L1 norm = ({l1:g}, {diff_l1:g}); L2 norm = ({l2:g}, {diff_l2:g})",
        logging.ERROR,
    )


def _forward(net: Net, i: int) -> None:
    layer = net.execution.layers[i]
    for top in net.wiring.tops[i]:
        name, size = net.wiring.blobs[top], _size(net.execution.blobs[top].read())
        say("net.cpp:593", f"    [Forward] Layer {layer.name}, top blob {name} data: {size:g}")
    for j, blob in enumerate(layer.blobs):
        shown_as = param_spec(layer.param, j).name or str(j)
        say("net.cpp:605", f"    [Forward] Layer {layer.name}, param blob {shown_as} data: {_size(blob.read()):g}")


def _backward(net: Net, i: int) -> None:
    layer = net.execution.layers[i]
    for bottom, propagate in zip(net.wiring.bottoms[i], net.plan.bottoms[i], strict=True):
        if propagate:
            name, size = net.wiring.blobs[bottom], _size(net.execution.blobs[bottom].read_diff())
            say("net.cpp:621", f"    [Backward] Layer {layer.name}, bottom blob {name} diff: {size:g}")
    for j, blob in enumerate(layer.blobs):
        if layer.param_propagate_down[j]:
            say("net.cpp:632", f"    [Backward] Layer {layer.name}, param blob {j} diff: {_size(blob.read_diff()):g}")


def _size(array: Floats) -> float:
    """The mean of the absolute values."""
    return float(np.abs(array).mean()) if array.size else 0.0


def _norms(arrays: list[Floats]) -> tuple[float, float]:
    flat = [array.ravel() for array in arrays]
    return sum(float(np.abs(a).sum()) for a in flat), sum(float(a @ a) for a in flat) ** 0.5
