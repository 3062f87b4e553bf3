"""Receptive fields: which pixels of the net's input an element of a blob depends on."""

from collections.abc import Sequence
from dataclasses import dataclass

from caffepy.blob import Shape
from caffepy.layer import Layer
from caffepy.layers.normalization.lrn import LRN
from caffepy.layers.vision.convolution import Convolution
from caffepy.layers.vision.deconvolution import Deconvolution
from caffepy.layers.vision.pooling import Pooling
from caffepy.net.execution import Execution

_WHOLE = {"Flatten", "InnerProduct", "MVN", "Normalize", "Reduction", "Reshape"}
"""Types whose tops, or elements of them, depend on all positions."""
_OPAQUE = {"Correlation", "FlowWarp", "Flip", "Im2col", "Permute", "Python"}
"""Types whose tops may have the bottoms' extent without being computed position by position."""


@dataclass(frozen=True)
class Field:
    """Along one axis of the input, in its pixels, pads and what lies outside counted."""

    size: float
    """Pixels that one element depends on."""
    stride: float
    """From an element to its neighbour; 0 where all positions are seen."""
    offset: float
    """Centre of the first element's pixels; that of the input's first pixel is 0."""

    def windows(self, kernel: int, stride: int, pad: int, dilation: int) -> "Field":
        """Of an element that sees the elements under a window."""
        reach = dilation * (kernel - 1)
        offset = self.offset + (reach / 2 - pad) * self.stride
        return Field(self.size + reach * self.stride, self.stride * stride, offset)

    def spread(self, kernel: int, stride: int, pad: int, dilation: int) -> "Field":
        """Of an element made of the elements that a window spreads over it: `windows` transposed."""
        reach = dilation * (kernel - 1)
        seen = reach // stride + 1
        step = self.stride / stride
        return Field(self.size + (seen - 1) * self.stride, step, self.offset + (pad - reach / 2) * step)

    def all_of(self, extent: int) -> "Field":
        """Of an element that sees all of that many elements."""
        reach = (extent - 1) * self.stride
        return Field(self.size + reach, 0, self.offset + reach / 2)

    def with_branch(self, other: "Field") -> "Field":
        """Of an element that sees the same position of both."""
        ends = [(f.offset - f.size / 2, f.offset + f.size / 2) for f in (self, other)]
        first, last = min(e[0] for e in ends), max(e[1] for e in ends)
        return Field(last - first, max(self.stride, other.stride), (first + last) / 2)


ReceptiveField = tuple[Field, ...]
"""One for each axis of an image: rows, columns."""


def receptive_fields(execution: Execution) -> list[ReceptiveField | None]:
    """Of each layer's first top, by the layers' order; None where it is no image, or the layer tells nothing of it.

    Through convolution, pooling, deconvolution, local normalisation, cropping, layers that see every position, and
    those that keep positions apart; where branches meet, the pixels that any of them sees.
    """
    now: dict[int, ReceptiveField | None] = {}
    found = []
    for layer, bottoms, tops in zip(execution.layers, execution.wiring.bottoms, execution.wiring.tops, strict=True):
        shapes = [execution.blobs[blob].shape for blob in bottoms]
        for top in tops:
            after = execution.blobs[top].shape
            now[top] = _through(layer, [now.get(blob) for blob in bottoms], shapes, after)
        found.append(now[tops[0]] if tops else None)
    return found


def crops_by_guess(execution: Execution) -> list[str]:
    """What is to be said of Crop layers without crop_param: they cut at 0, where pixels may not coincide.

    Old Caffe (FCN, HED) found the offset by itself, from the windows between the bottoms and the input.
    """
    fields: list[ReceptiveField | None] = []
    said = []
    for layer, sources in zip(execution.layers, execution.wiring.sources, strict=True):
        if layer.type == "Crop" and not layer.param.HasField("crop_param"):
            fields = fields or receptive_fields(execution)
            cut, like = (fields[source[0]] for source in sources)
            if cut and like and all(a.stride == b.stride for a, b in zip(cut, like, strict=False)):
                offsets = [(b.offset - a.offset) / a.stride for a, b in zip(cut, like, strict=False)]
                if any(offsets):
                    alike = offsets[: 1 if len(set(offsets)) == 1 else None]
                    said.append(f"{layer.param.top[0]!r} ({' '.join(f'offset: {o:g}' for o in alike)})")
    return said


def _through(
    layer: Layer, fields: Sequence[ReceptiveField | None], shapes: Sequence[Shape], top: Shape
) -> ReceptiveField | None:
    if not shapes:
        return (Field(1, 1, 0),) * (len(top) - 2) if len(top) in (4, 5) else None
    first, extent = fields[0], shapes[0][2:]
    if first and layer.type in _WHOLE:
        return tuple(f.all_of(n) for f, n in zip(first, extent, strict=True)) if len(extent) == len(first) else first
    if first and (windows := _windows(layer, shapes[0])) and len(windows) == len(first):
        step = Field.spread if isinstance(layer, Deconvolution) else Field.windows
        return tuple(step(f, *window) for f, window in zip(first, windows, strict=True))
    if first and layer.type == "Crop":
        crop = layer.param.crop_param
        offsets = ((0,) * crop.axis + (tuple(crop.offset) or (0,)) * len(shapes[0]))[2 : 2 + len(first)]
        return tuple(Field(f.size, f.stride, f.offset + o * f.stride) for f, o in zip(first, offsets, strict=True))
    return None if layer.type in _OPAQUE else _by_position(fields, shapes, top)


def _windows(layer: Layer, bottom: Shape) -> list[tuple[int, int, int, int]]:
    """Kernel, stride, pad and dilation along each axis; none where the layer slides no window."""
    if isinstance(layer, Convolution | Deconvolution):
        w = layer.window
        return list(zip(w.kernel, w.stride, w.pad, w.dilation, strict=True))
    if isinstance(layer, Pooling) and layer.box:
        return [(*window, 1) for window in zip(layer.box.kernel, layer.box.stride, layer.box.pad, strict=True)]
    if isinstance(layer, Pooling):
        p = layer.current
        return [(p.kernel_h, p.stride_h, p.pad_h, 1), (p.kernel_w, p.stride_w, p.pad_w, 1)]
    if isinstance(layer, LRN) and layer.within:
        return [(layer.local_size, 1, (layer.local_size - 1) // 2, 1)] * 2
    return []


def _by_position(fields: Sequence[ReceptiveField | None], shapes: Sequence[Shape], top: Shape) -> ReceptiveField | None:
    """Where a top has a bottom's axes and extent, each of its elements sees that position of the bottoms alone."""
    branches = [
        field
        for field, shape in zip(fields, shapes, strict=True)
        if field and len(shape) == len(top) and shape[2:] == top[2:]
    ]
    if not branches:
        return None
    result = branches[0]
    for other in branches[1:]:
        result = tuple(a.with_branch(b) for a, b in zip(result, other, strict=False))
    return result
