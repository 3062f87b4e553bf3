"""Normalization by the batch's own statistics, and its derivative."""

import functools

import numpy as np

from caffepy.blob import Floats
from caffepy.cpu import arguments as a
from caffepy.cpu.build import Builder, DeclinedError
from caffepy.cpu.moves import move
from caffepy.cpu.record import Operation
from caffepy.cpu.scale_weights import constant, full_channels, normalization_backward
from caffepy.cpu.table import translates
from caffepy.device.onednn.handles import Attributes, Memory, Primitive, contiguous, library


@translates("batch_norm_batch_stats")
def batch_norm(b: Builder, operation: Operation) -> None:
    """The statistics, what is gathered of them, and the normalized values, twice as the layer keeps them."""
    data, mean, variance = (operation[name] for name in ("bottom_data", "mean", "variance"))
    gather = b.following("batch_norm_gather_stats", mean=mean, variance=variance)
    forward = b.following("batch_norm_forward", bottom_data=data, mean=mean, variance=variance)
    if forward is None or forward["normalized"] is None:
        raise DeclinedError
    normalized, top, channels = forward["normalized"], forward["top_data"], operation["channels"]
    layout = full_channels(b, [data], operation["num"], channels, operation["inner"])
    if layout.plain or not all(map(b.whole, (mean, variance, normalized, top))):
        raise DeclinedError
    primitive = Primitive(
        "batch_normalization_forward",
        library().engine,
        a.TRAINING,
        layout,
        layout,
        forward.constants["eps"],
        0,
        Attributes(),
    )
    vector = contiguous((channels,))
    source = b.read(data, layout)
    statistics = {a.MEAN: b.write(mean, vector), a.VARIANCE: b.write(variance, vector)}
    b.add(primitive, {a.SRC: source, **statistics, a.DST: b.write(normalized, layout)})
    if gather is not None:
        b.body(gather)
    move(b, normalized, top)


@translates("batch_norm_diff_stats")
def batch_norm_backward(b: Builder, operation: Operation) -> None:
    """What is normalized already has a mean of 0 and a variance of 1; the deviation comes in as a scale."""
    top_diff, normalized = operation["top_diff"], operation["normalized"]
    backward = b.following("batch_norm_backward", top_diff=top_diff, normalized=normalized)
    if backward is None:
        raise DeclinedError
    channels, variance, bottom_diff = operation["channels"], backward["variance"], backward["bottom_diff"]
    layout = full_channels(b, [normalized, top_diff, bottom_diff], operation["num"], channels, operation["inner"])
    if not all(map(b.whole, (top_diff, bottom_diff))):
        raise DeclinedError
    primitive = normalization_backward(layout, a.USE_SCALE)
    b.read(variance, contiguous(variance.shape))
    factor = constant(channels, 0)
    into = factor.array((channels,))
    b.call("inverse deviation", functools.partial(_invert, b.raw(variance), backward.constants["eps"], into))
    source, diff = b.read(normalized, layout), b.read(top_diff, layout)
    given: dict[int, Memory | None] = {a.SRC: source, a.DIFF_DST: diff, a.SCALE: factor}
    statistics = {a.MEAN: constant(channels, 0), a.VARIANCE: constant(channels, 1)}
    unused = {a.DIFF_SCALE: b.passing(contiguous((channels,)))}
    b.add(primitive, {**given, **statistics, **unused, a.DIFF_SRC: b.write(bottom_diff, layout)})


def _invert(variance: Floats, eps: float, into: Floats) -> None:
    np.divide(1, np.sqrt(variance + np.float32(eps)), out=into)
