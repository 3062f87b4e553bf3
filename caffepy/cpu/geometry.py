"""The shapes of convolutions, and their primitives."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from caffepy.blob import Floats
from caffepy.cpu import arguments as a
from caffepy.cpu.build import DeclinedError
from caffepy.cpu.record import Operation
from caffepy.device.onednn.handles import Attributes, Layout, Primitive, chosen, dims, library


@dataclass(frozen=True)
class Geometry:
    """The shapes of one call, and the window as oneDNN takes it."""

    source: tuple[int, ...]
    weights: tuple[int, ...]
    target: tuple[int, ...]
    window: tuple[Any, ...]
    """Strides, dilation from 0, padding before and behind."""

    @classmethod
    def of(cls, image: Floats, weight: Floats, top: Floats, operation: Operation) -> "Geometry":
        """Of the operation on these arrays."""
        w, group = operation.constants["window"], operation.constants["group"]
        axes, channels, outputs = len(w.kernel), weight.shape[1] * group, weight.shape[0]
        if not 1 <= axes <= 3:
            raise DeclinedError
        extent, positions = image.shape[image.ndim - axes :], top.shape[top.ndim - axes :]
        num = image.size // (channels * math.prod(extent))
        behind = [
            (p - 1) * s + (k - 1) * d + 1 - e - pad
            for p, s, k, d, e, pad in zip(positions, w.stride, w.kernel, w.dilation, extent, w.pad, strict=True)
        ]
        grouped = (group, outputs // group, weight.shape[1]) if group > 1 else (outputs, channels)
        dilation = [d - 1 for d in w.dilation]
        return cls(
            (num, channels, *extent),
            (*grouped, *w.kernel),
            (num, outputs, *positions),
            (dims(w.stride), dims(dilation), dims(w.pad), dims(behind)),
        )

    def forward(
        self, bias: Layout | None, slope: float | None = None, binary: Sequence[tuple[int, Layout]] = ()
    ) -> Primitive:
        """The primitive, which chooses its layouts; operations with operands of given layouts may follow."""
        layouts = chosen(self.source), chosen(self.weights), bias, chosen(self.target)
        attributes = Attributes(slope=slope, binary=binary)
        engine = library().engine
        return Primitive("convolution_forward", engine, a.TRAINING, a.DIRECT, *layouts, *self.window, attributes)

    def turned(self) -> "Geometry | None":
        """Of the convolution that the gradient of the images is: of the tops' diffs, with windows turned around.

        None where there is none: strides leave holes between the diffs.
        """
        axes = len(self.source) - 2
        stride, dilation, *pads = [list(part)[:axes] for part in self.window]
        *group, outputs, channels = self.weights[:-axes]
        reach = [(extent - 1) * (step + 1) for extent, step in zip(self.weights[-axes:], dilation, strict=True)]
        before, behind = ([r - pad for r, pad in zip(reach, each, strict=True)] for each in pads)
        if max(stride) > 1 or min(*before, *behind) < 0:
            return None
        weights = (*group, channels, outputs, *self.weights[-axes:])
        window = dims(stride), dims(dilation), dims(before), dims(behind)
        return Geometry(self.target, weights, self.source, window)
