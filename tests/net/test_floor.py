"""What forward passes of known nets move and launch on a GPU, beside the least that they could."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

import caffepy
from benchmarks.nets import NETS
from caffepy.kernels import Kernel, observed
from tests.kernels.recording import recording

MOST = 1.3


@functools.cache
def _net(name: str) -> Any:
    param = NETS[name](1)
    for layer in param.layer:  # zeros will do, and are made sooner
        layer.convolution_param.ClearField("weight_filler")
        layer.inner_product_param.ClearField("weight_filler")
    return caffepy.Net(param, caffepy.TEST)


def _least(net: Any) -> tuple[int, int]:
    """Bytes and launches of a pass with a kernel for each layer that is not in place.

    Weights are read once; each layer's bottoms are read and its tops written once. What Scale in place keeps for its
    diff is written, too.
    """
    execution, launches, values = net.execution, 0, sum(blob.count for layer in net.layers for blob in layer.blobs)
    for i, layer in enumerate(execution.layers):
        bottoms, tops = execution.wiring.bottoms[i], execution.wiring.tops[i]
        in_place = bool(bottoms) and bottoms[:1] == tops[:1]
        if in_place and layer.type == "Scale":
            values += execution.blobs[tops[0]].count
        if layer.type != "Input" and layer.shares == "no" and not in_place:
            launches += 1
            values += sum(execution.blobs[blob].count for blob in (*bottoms, *tops))
    return 4 * values, launches


def _moved(net: Any) -> tuple[int, int]:
    """Bytes and launches of a pass. Parts of split sums, which stay in the L2 cache, and their sums are left out."""
    moved, launches = 0, 0

    def note(kernel: Kernel[Any], args: Sequence[Any], constants: Mapping[str, Any]) -> bool:
        nonlocal moved, launches
        planned = kernel.launches(*args, **constants)
        sums = [launch for launch in planned if launch.entry.endswith("_sum") and launch.entry != kernel.name]
        moved += kernel.work(*args, **constants)[1]
        for launch in sums:
            results = launch.grid[0] * launch.block[0]
            parts = launch.arguments[-3] if kernel.name.startswith("convolution") else launch.arguments[-1]
            moved -= 4 * 2 * int(parts) * results
        launches += len(planned) - len(sums)
        return True

    with recording(90):
        net.forward()
        net.execution.replay.clear()
        with observed(note):
            net.forward()
    return moved, launches


@pytest.mark.parametrize("name", ["resnet50", "mobilenet", "squeezenet", "vgg16"])
def test_a_forward_pass_is_near_the_least(name: str) -> None:
    net = _net(name)
    least, found = _least(net), _moved(net)
    assert found[0] <= MOST * least[0]
    assert found[1] <= MOST * least[1]
