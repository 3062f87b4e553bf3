"""LRN across channels, where the library has fast code for it: blocks of channels, five around, power 3/4."""

import ctypes

from caffepy.blob import Floats
from caffepy.cpu import arguments as a
from caffepy.cpu.build import Builder, DeclinedError
from caffepy.cpu.folding import again
from caffepy.cpu.homes import Computed
from caffepy.cpu.record import Operation
from caffepy.cpu.table import translates
from caffepy.device.onednn.handles import Attributes, Layout, Memory, Primitive, library


def _given(operation: Operation, k: float) -> tuple[object, ...]:
    c = operation.constants
    if c["within"]:
        raise DeclinedError
    return ctypes.c_int64(c["local_size"]), c["alpha"], c["beta"], k


def _fast(primitive: Primitive) -> Primitive:
    if primitive.implementation.startswith("ref"):
        raise DeclinedError
    return primitive


def _forward(layout: Layout, given: tuple[object, ...], kind: int = a.TRAINING) -> Primitive:
    engine = library().engine
    return _fast(Primitive("lrn_forward", engine, kind, a.LRN_ACROSS, layout, layout, *given, Attributes()))


@translates("lrn_forward")
def lrn_forward(b: Builder, operation: Operation) -> None:
    """The scale stays in oneDNN's form unless asked for."""
    bottom: Floats = operation["bottom_data"]
    layout, k = b.layout(bottom), operation.constants["k"]
    if layout.plain:
        raise DeclinedError
    primitive = _forward(layout, _given(operation, k), a.TRAINING if b.keeps else a.INFERENCE)
    workspace = primitive.layout(a.ASK_WORKSPACE)
    source = b.read(bottom, layout)
    kept = None if workspace is None else Memory(workspace)
    b.compute(operation["scale"], Computed(again(b, [operation], "scale"), (kept, (layout, k))))
    b.add(primitive, {a.SRC: source, a.WORKSPACE: kept, a.DST: b.write(operation["top_data"], layout)})


@translates("lrn_backward")
def lrn_backward(b: Builder, operation: Operation) -> None:
    """In the layout of forward."""
    kept, (layout, k) = b.computed(operation["scale"])
    given = _given(operation, k)
    forward = _forward(layout, given)
    primitive = _fast(
        Primitive(
            "lrn_backward",
            library().engine,
            a.LRN_ACROSS,
            layout,
            layout,
            layout,
            *given,
            forward,
            Attributes(),
        )
    )
    source, diff = b.read(operation["bottom_data"], layout), b.read(operation["top_diff"], layout)
    target = b.write(operation["bottom_diff"], layout)
    b.add(primitive, {a.SRC: source, a.DIFF_DST: diff, a.WORKSPACE: kept, a.DIFF_SRC: target})
