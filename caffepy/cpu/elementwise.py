"""Operations on values at the same place: they run in whatever layout the values are in."""

import ctypes

from caffepy.blob import Floats
from caffepy.cpu import arguments as a
from caffepy.cpu.build import Builder, DeclinedError
from caffepy.cpu.masks import has_mask, mask
from caffepy.cpu.record import Operation
from caffepy.cpu.table import translates
from caffepy.device.onednn.handles import Attributes, Layout, Primitive, library
from caffepy.device.onednn.library import Handle


def _forward(layout: Layout, algorithm: int, alpha: float) -> Primitive:
    return Primitive(
        "eltwise_forward", library().engine, a.TRAINING, algorithm, layout, layout, alpha, 0.0, Attributes()
    )


def activation(b: Builder, bottom: Floats, top: Floats, algorithm: int, alpha: float = 0.0) -> None:
    """top = the function of bottom"""
    primitive = _forward(b.form(bottom), algorithm, alpha)
    layout = b.form(bottom)
    source = b.read(bottom, layout)
    b.add(primitive, {a.SRC: source, a.DST: b.write(top, layout)})


@translates("relu_forward")
def relu_forward(b: Builder, operation: Operation) -> None:
    """With any slope."""
    activation(b, operation["bottom_data"], operation["top_data"], a.RELU, operation.constants["negative_slope"])


@translates("relu_backward")
def relu_backward(b: Builder, operation: Operation) -> None:
    """The sign may be the bottom's or the top's."""
    data, top_diff, bottom_diff = (operation[n] for n in ("bottom_data", "top_diff", "bottom_diff"))
    layout, slope = b.form(data), operation.constants["negative_slope"]
    if slope == 0 and has_mask(b, data, layout):
        _masked(b, data, layout, top_diff, bottom_diff)
        return
    primitive = Primitive(
        "eltwise_backward",
        library().engine,
        a.RELU,
        layout,
        layout,
        layout,
        slope,
        0.0,
        _forward(layout, a.RELU, slope),
        Attributes(),
    )
    source, diff = b.read(data, layout), b.read(top_diff, layout)
    b.add(primitive, {a.SRC: source, a.DIFF_DST: diff, a.DIFF_SRC: b.write(bottom_diff, layout)})


def _masked(b: Builder, data: Floats, layout: Layout, top_diff: Floats, bottom_diff: Floats) -> None:
    """In two steps, which together take half the time of the library's own derivative."""
    multiply = Primitive("binary", library().engine, a.MULTIPLY, layout, layout.bytes(), layout, Attributes())
    diff, places = b.read(top_diff, layout), mask(b, data, layout)
    b.add(multiply, {a.SRC: diff, a.SRC_1: places, a.DST: b.write(bottom_diff, layout)})


@translates("sigmoid_forward", "tanh_forward")
def sigmoid_forward(b: Builder, operation: Operation) -> None:
    """Also the hyperbolic tangent."""
    algorithm = a.TANH if operation.name == "tanh_forward" else a.LOGISTIC
    activation(b, operation["bottom_data"], operation["top_data"], algorithm)


@translates("sigmoid_backward", "tanh_backward")
def sigmoid_backward(b: Builder, operation: Operation) -> None:
    """By the top, as Caffe."""
    top, top_diff, bottom_diff = (operation[n] for n in ("top_data", "top_diff", "bottom_diff"))
    algorithm = a.TANH_BY_TOP if operation.name == "tanh_backward" else a.LOGISTIC_BY_TOP
    layout = b.form(top)
    forward = _forward(layout, algorithm, 0.0)
    given = layout, layout, layout, 0.0, 0.0, forward, Attributes()
    primitive = Primitive("eltwise_backward", library().engine, algorithm, *given)
    values, diff = b.read(top, layout), b.read(top_diff, layout)
    b.add(primitive, {a.DST: values, a.DIFF_DST: diff, a.DIFF_SRC: b.write(bottom_diff, layout)})


@translates("eltwise_sum_forward")
def eltwise_sum_forward(b: Builder, operation: Operation) -> None:
    """Also a ReLU in place that follows."""
    first, second, top = (operation[n] for n in ("first_data", "second_data", "top_data"))
    scales = operation.constants["first_coeff"], operation.constants["second_coeff"]
    add(b, first, second, top, scales, b.following_slope(top))


@translates("split_backward")
def split_backward(b: Builder, operation: Operation) -> None:
    """The sum of two diffs."""
    add(b, operation["first_diff"], operation["second_diff"], operation["bottom_diff"])


def add(
    b: Builder,
    first: Floats,
    second: Floats,
    total: Floats,
    scales: tuple[float, float] = (1.0, 1.0),
    slope: float | None = None,
) -> None:
    """total = the sum, each times its scale, in the first's layout, or in the second's if only that is packed."""
    layout = b.form(first)
    if layout.plain:
        layout = b.form(second)
    if scales == (1.0, 1.0):
        primitive = Primitive("binary", library().engine, a.ADD, layout, layout, layout, Attributes(slope=slope))
    elif slope is None:
        primitive = _sum(layout, scales)
    else:
        raise DeclinedError
    one, other = b.read(first, layout), b.read(second, layout)
    names = (a.SRC, a.SRC_1) if scales == (1.0, 1.0) else (a.MULTIPLE_SRC, a.MULTIPLE_SRC + 1)
    b.add(primitive, {names[0]: one, names[1]: other, a.DST: b.write(total, layout)})


def _sum(layout: Layout, scales: tuple[float, float]) -> Primitive:
    factors = (ctypes.c_float * 2)(*scales)
    layouts = (Handle * 2)(layout.handle, layout.handle)
    return Primitive("sum", library().engine, layout, 2, factors, layouts, Attributes())


@translates("eltwise_prod_forward")
def eltwise_prod_forward(b: Builder, operation: Operation) -> None:
    """Of two blobs."""
    first, second, top = (operation[n] for n in ("first_data", "second_data", "top_data"))
    layout = b.form(first)
    primitive = Primitive("binary", library().engine, a.MULTIPLY, layout, layout, layout, Attributes())
    one, other = b.read(first, layout), b.read(second, layout)
    b.add(primitive, {a.SRC: one, a.SRC_1: other, a.DST: b.write(top, layout)})
