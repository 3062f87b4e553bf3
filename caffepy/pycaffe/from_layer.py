"""Backward passes that start at a layer, as the deep-visualization toolbox's branch of Caffe has them.

Yosinski, Clune, Nguyen, Fuchs & Lipson 2015, arXiv 1506.06579.
"""

from collections.abc import Sequence
from typing import Any

from caffepy import device
from caffepy.blob import Floats, fit
from caffepy.errors import ArgumentError
from caffepy.net import Net

ZEILER_FERGUS, GUIDED_BACKPROP = "Zeiler & Fergus", "Guided Backprop"


def backward(
    net: Any, start_name: str, start_diff: Any, diffs: Sequence[str] | None, zero_higher: bool
) -> dict[str, Floats]:
    """Put a diff at a layer's first top, whose shape it has, and run backward from that layer.

    diffs        names of further blobs whose diffs to return
    zero_higher  set the diffs of what layers behind it write to zero
    returns the inputs' diffs and `diffs`, as pycaffe's `backward`, which also says when the inputs' are computed

    A name of a blob is taken for the layer that writes it last. Raises UnknownLayerError or ArgumentError.
    """
    start = _start(net, start_name)
    tops = net.wiring.tops[start]
    if not tops:
        raise ArgumentError(f"layer {start_name!r} has no top that a diff could be put at")
    blobs = net.execution.blobs
    value = fit(start_diff, blobs[tops[0]].shape, f"the diff of layer {start_name!r}")
    earlier = {top for written in net.wiring.tops[: start + 1] for top in written}
    higher = set(range(len(blobs))) - earlier if zero_higher else set()
    with net.running():
        for i in (*tops[1:], *higher):
            device.current().fill(blobs[i].diff_storage.array(blobs[i].count, "overwrite"), 0)
        blobs[tops[0]].diff_storage.put(value)
    found: dict[str, Floats] = net.backward(diffs=diffs, start=net.layer_names[start])
    return found


def deconv(
    net: Any, start_name: str, start_diff: Any, diffs: Sequence[str] | None, zero_higher: bool, deconv_type: str
) -> dict[str, Floats]:
    """The same with rectifiers that rectify what comes down, as a deconvolutional net, or guided backpropagation."""
    from caffepy.rules import DECONV, GUIDED  # here, because few scripts need rules

    rules = {ZEILER_FERGUS: DECONV, GUIDED_BACKPROP: GUIDED}
    if deconv_type not in rules:
        raise ArgumentError(f"deconv_type is {deconv_type!r}; give one of {', '.join(map(repr, rules))}")
    with net.rules(rules[deconv_type]):
        return backward(net, start_name, start_diff, diffs, zero_higher)


def _start(net: Net, name: str) -> int:
    if name not in net.layer_names and name in net.wiring.blobs:
        return net.wiring.versions(net.wiring.index(name))[-1][0]
    return net.layer_index(name)
