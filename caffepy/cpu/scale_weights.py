"""Diffs of scales and shifts of channels, together with that of the values: one primitive of normalization does all."""

import functools
from collections.abc import Sequence

import numpy as np

from caffepy.blob import Floats
from caffepy.cpu import arguments as a
from caffepy.cpu.build import Builder, DeclinedError
from caffepy.cpu.record import Operation
from caffepy.cpu.sums import Sum
from caffepy.cpu.table import translates
from caffepy.device.onednn.handles import Attributes, Layout, Memory, Primitive, contiguous, library

FLAGS = a.GLOBAL_STATISTICS | a.USE_SCALE | a.USE_SHIFT


def normalization_backward(layout: Layout, flags: int) -> Primitive:
    """The primitive for a mean of 0 and a variance of 1."""
    engine = library().engine
    forward = Primitive("batch_normalization_forward", engine, a.TRAINING, layout, layout, 0.0, flags, Attributes())
    given = layout, layout, layout, 0.0, flags, forward, Attributes()
    return Primitive("batch_normalization_backward", engine, a.BACKWARD, *given)


def constant(channels: int, value: float) -> Memory:
    """A vector of one value."""
    memory = Memory(contiguous((channels,)))
    memory.array((channels,))[...] = value
    return memory


@translates("bias_backward_weights", "scale_backward_weights")
def scale_backward_weights(b: Builder, operation: Operation) -> None:
    """The shift's, the scale's and the values', as far as they follow one another; the scale's must be among them."""
    top_diff = operation["top_diff"]
    of_scale, of_shift = operation, None
    if operation.name == "bias_backward_weights":
        of_shift, found = operation, b.following("scale_backward_weights", top_diff=top_diff)
        if found is None:
            raise DeclinedError
        of_scale = found
    data, channels = of_scale["bottom_data"], of_scale["channels"]
    of_values = b.following("scale_backward", top_diff=top_diff)
    arrays = [data, top_diff] if of_values is None else [data, top_diff, of_values["bottom_diff"]]
    layout = full_channels(b, arrays, *(of_scale[name] for name in ("outer", "channels", "inner")))
    if not all(o.constants["accumulate"] for o in (of_scale, of_shift) if o is not None):
        raise DeclinedError
    primitive = normalization_backward(layout, FLAGS)
    vector = contiguous((channels,))
    factor = constant(channels, 1) if of_values is None else _factor(b, of_values, channels)
    source, diff = b.read(data, layout), b.read(top_diff, layout)
    into = b.passing(layout) if of_values is None else b.write(of_values["bottom_diff"], layout)
    scale = Sum(b, of_scale["scale_diff"], vector)
    shift = None if of_shift is None else Sum(b, of_shift["bias_diff"], vector)
    given: dict[int, Memory | None] = {a.SRC: source, a.DIFF_DST: diff, a.SCALE: factor, a.DIFF_SRC: into}
    statistics = {a.MEAN: constant(channels, 0), a.VARIANCE: constant(channels, 1)}
    sums = {a.DIFF_SCALE: scale.memory, a.DIFF_SHIFT: b.passing(vector) if shift is None else shift.memory}
    b.add(primitive, {**given, **statistics, **sums})
    scale.finish()
    if shift is not None:
        shift.finish()


def _factor(b: Builder, of_values: Operation, channels: int) -> Memory:
    """What the values' diff is multiplied by; also by a normalization in place that comes before the scale."""
    diff = of_values["bottom_diff"]
    normalization = b.following("batch_norm_global_backward", top_diff=diff, bottom_diff=diff)
    scale = of_values["scale_data"]
    memory = b.read(scale, contiguous(scale.shape)).viewed(contiguous((channels,)))
    if normalization is None:
        return memory
    variance, factor = normalization["variance"], constant(channels, 0)
    b.read(variance, contiguous(variance.shape))
    given = b.raw(scale), b.raw(variance), normalization.constants["eps"], factor.array((channels,))
    b.call("scale by deviation", functools.partial(_divide, *given))
    return factor


def _divide(scale: Floats, variance: Floats, eps: float, into: Floats) -> None:
    np.divide(scale.reshape(-1), np.sqrt(variance + np.float32(eps)), out=into)


def full_channels(b: Builder, arrays: Sequence[Floats], num: int, channels: int, inner: int) -> Layout:
    """How arrays alike are to lie: as the first one does that is packed, or else plain.

    What forward left out is on the host when backward first asks for it, and packed from then on. Images' channels have
    to fill their blocks: the library's vectors would need a pad, too.
    """
    forms = list(map(b.form, arrays))
    if all(map(b.whole, arrays)):
        forms.sort(key=lambda form: form.plain)
    for form in forms:
        shape = form.shape
        fits = len(shape) > 2 and shape[:2] == (num, channels) and int(np.prod(shape[2:])) == inner
        if fits and form.size == arrays[0].nbytes:
            return form
    raise DeclinedError
