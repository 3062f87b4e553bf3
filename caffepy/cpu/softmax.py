"""Softmax, on plain memory: channels padded to blocks would count."""

from caffepy.blob import Floats
from caffepy.cpu import arguments as a
from caffepy.cpu.build import Builder
from caffepy.cpu.record import Operation
from caffepy.cpu.table import translates
from caffepy.device.onednn.handles import Attributes, Layout, Memory, Primitive, contiguous, library


def _layout(operation: Operation) -> Layout:
    shape = operation["outer"], operation["channels"], operation["inner"]
    return contiguous(shape[:2] if shape[2] == 1 else shape)


def _plain(b: Builder, array: Floats, layout: Layout) -> Memory:
    return b.read(array, contiguous(tuple(array.shape))).viewed(layout)


def _forward(layout: Layout) -> Primitive:
    engine = library().engine
    return Primitive("softmax_forward", engine, a.TRAINING, a.SOFTMAX, layout, layout, 1, Attributes())


@translates("softmax_forward")
def softmax_forward(b: Builder, operation: Operation) -> None:
    """Over axis 1."""
    layout, top = _layout(operation), operation["top_data"]
    source = _plain(b, operation["bottom_data"], layout)
    b.add(_forward(layout), {a.SRC: source, a.DST: b.write(top, contiguous(tuple(top.shape))).viewed(layout)})


@translates("softmax_backward")
def softmax_backward(b: Builder, operation: Operation) -> None:
    """From the top."""
    layout, target = _layout(operation), operation["bottom_diff"]
    engine = library().engine
    primitive = Primitive(
        "softmax_backward", engine, a.SOFTMAX, layout, layout, layout, 1, _forward(layout), Attributes()
    )
    top, diff = _plain(b, operation["top_data"], layout), _plain(b, operation["top_diff"], layout)
    written = b.write(target, contiguous(tuple(target.shape))).viewed(layout)
    b.add(primitive, {a.DST: top, a.DIFF_DST: diff, a.DIFF_SRC: written})
